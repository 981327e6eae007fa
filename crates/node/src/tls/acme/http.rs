//! What is said to an authority and what it says, carried by the stack of all calls.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use madang_calls::{Body, Trust};
use madang_model::{Protocol, Url};
use tokio::sync::Mutex as AsyncMutex;

use crate::remote::{Answer, Remote};

/// How long one answer may take: to sign is not done in a moment everywhere.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes: a chain of certificates has a few thousand.
const LARGEST: usize = 256 * 1024;

/// How many servers one authority can have.
const SERVERS: usize = 8;

/// The way to an authority. Clones are the same one.
#[derive(Clone)]
pub(super) struct Http(Arc<Shared>);

struct Shared {
    /// Whom to believe about who the authority is: those whom this machine trusts if absent.
    trust: Option<Trust>,
    servers: AsyncMutex<BTreeMap<Url, Arc<Remote>>>,
    refused: Mutex<Refused>,
}

/// What the last answer that was no success has said besides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refused {
    /// How long it wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// Whether the authority has failed itself.
    pub(super) failed: bool,
}

// === impl Http ===

impl Http {
    pub(super) fn new(trust: Option<Trust>) -> Self {
        Self(Arc::new(Shared { trust, servers: AsyncMutex::default(), refused: Mutex::default() }))
    }

    pub(super) fn refused(&self) -> Refused {
        *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, String> {
        let (head, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(never) => match never {},
        };
        let Answer { status, headers, body, .. } = self.exchange(Request::from_parts(head, body)).await?;
        self.note(status, &headers);
        let mut response = Response::new(Full::new(body));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response.into())
    }

    /// Says something to an authority, and tells what it says.
    pub(super) async fn exchange(&self, request: Request<Bytes>) -> Result<Answer, String> {
        let (mut head, body) = request.into_parts();
        let server = self.server(&head.uri).await?;
        server.find().await.map_err(|error| format!("{} is not found: {error}", head.uri))?;
        let shown = head.uri.to_string();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        head.uri = target.parse().map_err(|error| format!("{shown}: {error}"))?;
        let body = if body.is_empty() { Body::empty() } else { Body::from(body) };
        let answer = server.call(Request::from_parts(head, body)).await;
        answer.map_err(|error| format!("{shown}: {error}"))
    }

    /// An authority may name other servers than its own; never one that could be anybody's.
    async fn server(&self, uri: &Uri) -> Result<Arc<Remote>, String> {
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let url: Url = format!("{scheme}://{authority}")
            .parse()
            .map_err(|error| format!("the authority sends to {uri}: {error}"))?;
        if !url.is_private() {
            return Err(format!("the authority sends to {uri}, which is not safe"));
        }
        let mut servers = self.0.servers.lock().await;
        if let Some(known) = servers.get(&url) {
            return Ok(known.clone());
        }
        if servers.len() >= SERVERS {
            return Err(format!("the authority sends to {uri}, after {SERVERS} other servers"));
        }
        let remote = Remote::new(url.clone(), Protocol::Http, PATIENCE, LARGEST)
            .ok_or_else(|| format!("{uri} cannot be called"))?;
        let remote = Arc::new(remote.believing(self.0.trust.clone()));
        servers.insert(url, remote.clone());
        Ok(remote)
    }

    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        if status.is_client_error() || status.is_server_error() {
            let refused = Refused { retry_after: retry_after(headers), failed: status.is_server_error() };
            *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sending = self.clone().send(request);
        Box::pin(async move { sending.await.map_err(|why| Error::Other(why.into())) })
    }
}

/// In seconds or as a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}
