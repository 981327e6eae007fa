//! What of identity is counted, since a node is up: refusals by their code, and how fetches of keys ended.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use madang_wire::Code;

use super::denied::Denied;

/// The codes of refusals: as many as there are, so that no client can make another.
const CODES: [Code; 8] = [
    Code::NO_CREDENTIAL,
    Code::BAD_CREDENTIAL,
    Code::NOT_ALLOWED,
    Code::TOO_MANY_BAD_TOKENS,
    Code::NO_KEYS,
    Code::FORGED,
    Code::NOT_LOGGED_IN,
    Code::NO_ISSUER,
];

/// What is counted. Only refusals and fetches touch it. Cloning gives the same.
#[derive(Clone)]
pub(crate) struct Counted(Arc<Counters>);

struct Counters {
    refused: [AtomicU64; CODES.len()],
    fetched: AtomicU64,
    failed: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityCounts {
    /// Requests that were not let in, by the code of the answer.
    pub refused: Vec<(&'static str, u64)>,
    /// Fetches of issuers' keys that gave some, and that did not.
    pub keys_fetched: u64,
    /// See there.
    pub keys_failed: u64,
}

impl Default for Counted {
    fn default() -> Self {
        let refused = array::from_fn(|_| AtomicU64::new(0));
        Self(Arc::new(Counters { refused, fetched: AtomicU64::new(0), failed: AtomicU64::new(0) }))
    }
}

impl Counted {
    pub(crate) fn refused(&self, denied: &Denied) {
        if let Some(at) = CODES.iter().position(|code| *code == denied.code()) {
            self.0.refused[at].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn fetched(&self, good: bool) {
        let counter = if good { &self.0.fetched } else { &self.0.failed };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> IdentityCounts {
        let refused = CODES.iter().zip(&self.0.refused).map(|(code, count)| (code.id, count.load(Relaxed)));
        IdentityCounts {
            refused: refused.collect(),
            keys_fetched: self.0.fetched.load(Relaxed),
            keys_failed: self.0.failed.load(Relaxed),
        }
    }
}
