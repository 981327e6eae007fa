//! How the gateway's questions reach an issuer.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use madang_model::WebUrl;

/// Asks issuers. The gateway knows no way to anybody outside; whoever runs it does.
pub trait Provider: Send + Sync {
    /// Asks one. Nobody is followed elsewhere. An error says why there is no answer.
    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, String>>;
}

/// A question to an issuer.
#[derive(Clone)]
pub struct Ask {
    /// Where.
    pub url: WebUrl,
    /// The form that is posted; without one, a document is asked for.
    pub form: Option<String>,
    /// What `authorization` says, if anything.
    pub authorization: Option<String>,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}
