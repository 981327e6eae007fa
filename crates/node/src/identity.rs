//! Identity at the gateway as a node runs it: where the keys of issuers are fetched. The gateway decides when.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{
    Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use madang_calls::Body;
use madang_gateway::{Ask, KeySource, Provider, Reply};
use madang_model::{Issuer, Protocol, WebUrl};
use serde::Deserialize;

use crate::remote::{Answer, Remote};

/// How long one document may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// The largest document that is read, in bytes.
const LARGEST: usize = 256 * 1024;

/// Fetches keys from their issuers, outside.
pub(crate) struct Issuers;

/// What matters of a document of discovery (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl KeySource for Issuers {
    fn fetch<'a>(&'a self, issuer: &'a Issuer) -> BoxFuture<'a, Result<Bytes, String>> {
        async move {
            let keys = match &issuer.jwks {
                Some(keys) => keys.clone(),
                None => discovered(issuer, &document(&issuer.discovery).await?)?,
            };
            document(&keys).await
        }
        .boxed()
    }
}

/// Where the keys are, as a document of discovery says. It must be this issuer's own (section 4.3), and may send nobody
/// to where the keys could be changed on the way.
fn discovered(issuer: &Issuer, document: &[u8]) -> Result<WebUrl, String> {
    let from = &issuer.discovery;
    let found: Discovered = serde_json::from_slice(document)
        .map_err(|error| format!("{from} is no document of discovery: {error}"))?;
    if found.issuer != issuer.issuer {
        let (says, is) = (found.issuer, &issuer.issuer);
        return Err(format!(
            "{from} is of the issuer {says:?}; write it so in the manifest, which has {is:?}"
        ));
    }
    let keys: WebUrl = found
        .jwks_uri
        .parse()
        .map_err(|error| format!("{from} says that the keys are at {:?}: {error}", found.jwks_uri))?;
    let safe = if from.server.is_tls() { keys.server.is_tls() } else { keys.server.is_private() };
    if safe { Ok(keys) } else { Err(format!("{from} says that the keys are at {keys}, which is not safe")) }
}

/// A document, whole. Nobody is followed elsewhere.
async fn document(url: &WebUrl) -> Result<Bytes, String> {
    let answer = asked(&Ask { url: url.clone(), form: None, authorization: None }).await?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(format!("{url} answers {status}")),
    }
}

impl Provider for Issuers {
    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, String>> {
        async move {
            let Answer { status, body, .. } = asked(ask).await?;
            Ok(Reply { status, body })
        }
        .boxed()
    }
}

/// What an issuer answers, whatever it is.
async fn asked(Ask { url, form, authorization }: &Ask) -> Result<Answer, String> {
    let server = Remote::new(url.server.clone(), Protocol::Http, PATIENCE, LARGEST);
    let server = server.ok_or_else(|| format!("{url} cannot be called"))?;
    server.find().await.map_err(|error| format!("{} is not found: {error}", url.server))?;
    let mut request = match form {
        Some(_) => Request::post(&url.target).header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
        None => Request::get(&url.target),
    };
    request = request.header(ACCEPT, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let body = form.clone().map_or_else(Body::empty, Body::from);
    let request = request.body(body).map_err(|error| format!("{url} cannot be asked for: {error}"))?;
    server.call(request).await.map_err(|error| format!("{url}: {error}"))
}

#[cfg(test)]
mod tests {
    use axum::{Router, response::Redirect, routing::get};
    use madang_model::ClaimPath;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn issuer(url: &str) -> Issuer {
        Issuer {
            issuer: url.to_owned(),
            discovery: format!("{url}/.well-known/openid-configuration").parse().unwrap(),
            jwks: None,
            audience: ["shop".to_owned()].into(),
            roles: ClaimPath::roles(),
            claims: [].into(),
        }
    }

    async fn serve(routes: impl FnOnce(String) -> Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = routes(url.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    #[tokio::test]
    async fn keys_are_where_discovery_or_the_manifest_says() {
        let url = serve(|url| {
            let found = json!({ "issuer": url, "jwks_uri": format!("{url}/keys?a=b") }).to_string();
            Router::new()
                .route("/.well-known/openid-configuration", get(|| async { found }))
                .route("/keys", get(|uri: http::Uri| async move { uri.to_string() }))
                .route("/large", get(|| async { vec![b' '; LARGEST + 1] }))
                .route("/moved", get(|| async { Redirect::to("/keys") }))
        })
        .await;
        let mut issuer = issuer(&url);
        assert_eq!(Issuers.fetch(&issuer).await.unwrap(), "/keys?a=b");
        for (at, expected) in [
            ("/keys", Ok("/keys")),
            ("/large", Err("broke off")),
            ("/moved", Err("303")),
            ("/none", Err("404")),
        ] {
            issuer.jwks = Some(format!("{url}{at}").parse().unwrap());
            match (Issuers.fetch(&issuer).await, expected) {
                (Ok(document), Ok(expected)) => assert_eq!(document, expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{at}: {error}"),
                (fetched, _) => panic!("{at}: {fetched:?}"),
            }
        }
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        issuer.jwks = Some(format!("http://{gone}/keys").parse().unwrap());
        assert!(Issuers.fetch(&issuer).await.is_err());
    }

    #[test]
    fn a_document_of_discovery_is_its_issuers_own_and_leads_nowhere_unsafe() {
        let of = |issuer_url: &str, says: &str, keys: &str| {
            let document = json!({ "issuer": says, "jwks_uri": keys }).to_string();
            discovered(&issuer(issuer_url), document.as_bytes()).map(|url| url.to_string())
        };
        let (shop, local) = ("https://id.example/shop", "http://127.0.0.1:8080/shop");
        assert_eq!(of(shop, shop, "https://keys.example/a").unwrap(), "https://keys.example/a");
        assert!(of(local, local, "http://127.0.0.1:8080/keys").is_ok());
        assert!(
            of(shop, "https://id.example/shop/", "https://keys.example").unwrap_err().contains("manifest")
        );
        assert!(of(shop, "https://evil.example", "https://keys.example").is_err());
        for unsafe_keys in ["http://keys.example", "http://127.0.0.1:8080/keys", "keys", "file:///etc/passwd"]
        {
            assert!(of(shop, shop, unsafe_keys).is_err(), "{unsafe_keys}");
        }
        assert!(of(local, local, "http://keys.example").is_err());
        assert!(discovered(&issuer(shop), b"<html>").is_err());
    }
}
