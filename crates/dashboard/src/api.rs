//! The admin API as the pages ask it: in this process, and as whoever looks at them.

use axum::{Router, body::Body};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use madang_wire::{Problem, admin::SystemView};
use serde::{Serialize, de::DeserializeOwned};
use tower::ServiceExt;

use crate::{page::Shell, session::Session};

/// The longest answer that is read whole, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The API, as nobody asks it yet.
#[derive(Clone)]
pub(crate) struct Api(Router);

/// The API, as one session asks it.
#[derive(Clone)]
pub(crate) struct Asked {
    api: Router,
    session: Session,
}

/// Why there is no page: what the API answered instead.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    pub(crate) detail: String,
    /// The code, where there is one.
    pub(crate) code: Option<String>,
}

pub(crate) type Answer<T> = Result<T, Trouble>;

// === impl Api ===

impl Api {
    pub(crate) fn new(api: Router) -> Self {
        Self(api)
    }

    pub(crate) fn of(&self, session: &Session) -> Asked {
        Asked { api: self.0.clone(), session: session.clone() }
    }
}

// === impl Asked ===

impl Asked {
    /// Reads one document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let body = read(self.ask(Method::GET, path, Body::empty()).await?).await?;
        serde_json::from_slice(&body).map_err(|error| Trouble::internal(format!("{path}: {error}")))
    }

    /// Reads a document that there may not be.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Answer<Option<T>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(trouble) if trouble.status == StatusCode::NOT_FOUND => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Tells the node to do something.
    pub(crate) async fn post(&self, path: &str) -> Answer<()> {
        read(self.ask(Method::POST, path, Body::empty()).await?).await.map(drop)
    }

    /// Sends one document and reads what is made of it.
    pub(crate) async fn put_in<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Answer<T> {
        let document = serde_json::to_vec(document).map_err(|error| Trouble::internal(error.to_string()))?;
        let body = read(self.ask(Method::POST, path, document.into()).await?).await?;
        serde_json::from_slice(&body).map_err(|error| Trouble::internal(format!("{path}: {error}")))
    }

    /// Reads the documents of a stream that ends by itself, one a line.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Answer<Vec<T>> {
        let body = read(self.ask(Method::GET, path, Body::empty()).await?).await?;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let document = |line| serde_json::from_slice(line);
        lines
            .map(document)
            .collect::<Result<_, _>>()
            .map_err(|error| Trouble::internal(format!("{path}: {error}")))
    }

    /// Follows the documents of a stream, one a line. It ends with a line that is none.
    pub(crate) async fn follow<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Answer<impl Stream<Item = T> + Send + 'static> {
        let body = self.ask(Method::GET, path, Body::empty()).await?.into_body().into_data_stream();
        let state = (Box::pin(body), Vec::new());
        Ok(stream::unfold(state, |(mut body, mut buffer)| async move {
            loop {
                if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    return serde_json::from_slice(&line).ok().map(|document| (document, (body, buffer)));
                }
                if buffer.len() > LONGEST {
                    return None;
                }
                buffer.extend_from_slice(&body.next().await?.ok()?);
            }
        }))
    }

    /// What every page shows of the system.
    pub(crate) async fn shell(&self) -> Shell {
        Shell { system: self.get::<SystemView>("/v1/system").await.ok() }
    }

    async fn ask(&self, method: Method, path: &str, body: Body) -> Answer<Response<Body>> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let mut request =
            request.body(body).map_err(|error| Trouble::internal(format!("{path}: {error}")))?;
        request.extensions_mut().insert(self.session.clone());
        let response = match self.api.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = read(response).await.unwrap_or_default();
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Trouble {
                status,
                title: problem.title.into_owned(),
                detail: details(problem.detail, &problem.errors),
                code: Some(problem.code.into_owned()),
            },
            Err(_) => {
                Trouble { status, title: "The node refused".to_owned(), detail: path.to_owned(), code: None }
            }
        })
    }
}

fn details(detail: Option<String>, errors: &[madang_wire::FieldError]) -> String {
    let fields = errors.iter().map(|error| format!("{}: {}", error.field, error.message));
    detail.into_iter().chain(fields).collect::<Vec<_>>().join("; ")
}

async fn read(response: Response<Body>) -> Answer<Bytes> {
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    Ok(body.map_err(|error| Trouble::internal(error.to_string()))?.to_bytes())
}

// === impl Trouble ===

impl Trouble {
    pub(crate) fn internal(detail: String) -> Self {
        let title = "The page cannot be made".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, title, detail, code: None }
    }

    pub(crate) fn no_page(path: &str) -> Self {
        let detail = format!("There is nothing at {path}.");
        Self { status: StatusCode::NOT_FOUND, title: "No such page".to_owned(), detail, code: None }
    }
}
