//! A service that runs elsewhere: what its servers are told of whom the request is for, and how they prove who they
//! are.

use std::sync::Arc;

use http::{HeaderValue, uri::Scheme};
use madang_model::Url;

use crate::{tls::Tls, trace::ascii};

/// How the servers of a service that runs elsewhere are spoken to. They hear nothing that is between Madang's own
/// services: its headers stay inside.
pub struct Elsewhere {
    url: Url,
    /// What requests say in `host` or `:authority`, whatever they said before.
    pub(crate) authority: HeaderValue,
    /// Present if they are spoken to over TLS.
    pub(crate) tls: Option<Tls>,
}

/// Why servers elsewhere cannot be spoken to, as whoever calls them may know: nobody here could look it up there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

// === impl Elsewhere ===

impl Elsewhere {
    /// The servers of an `http` URL, or of an `https` one with what makes TLS.
    pub(crate) fn new(url: Url, tls: Option<Tls>) -> Arc<Self> {
        Arc::new(Self { authority: ascii(url.authority().as_bytes()), url, tls })
    }

    /// The servers of an `http` URL; nothing if it is an `https` one.
    pub fn plain(url: Url) -> Option<Arc<Self>> {
        (!url.is_tls()).then(|| Self::new(url, None))
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.url.is_tls() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl PartialEq for Elsewhere {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Elsewhere").field(&self.url.to_string()).finish()
    }
}
