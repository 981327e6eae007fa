//! Limits that several gateways count together, at a Redis.
//!
//! No request waits for it. Each gateway goes on counting in its own [table](super::table); a few times a second it tells
//! the store what was taken of whom since, and hears what that client owes altogether, which it owes here from then on.
//! What all of them let through too much meanwhile is owed too, and paid back before anything more is taken.
//!
//! `exchange` is who talks to the store, `resp` how.

mod exchange;
mod resp;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use madang_model::{System, edge::LimitStore};
use ring::digest::{SHA256, digest};
use tracing::{info, warn};

use super::Whose;

pub(crate) use exchange::run;
pub use exchange::{Connected, LimitConnector, Stream};

/// The store of a system's shared limits, as far as it is known.
pub(crate) struct Store {
    pub(crate) rules: LimitStore,
    /// What all keys of the system begin with. The braces keep them in one place of a cluster.
    prefix: String,
    /// Whether what it was last asked has no answer.
    down: AtomicBool,
    why: Mutex<Option<String>>,
    exchanged: AtomicU64,
    failed: AtomicU64,
    untold: AtomicU64,
}

/// How the store of shared limits does, since the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitStoreStats {
    /// Where it is.
    pub store: String,
    /// Why it cannot be asked; nothing while it can.
    pub down: Option<String>,
    /// How often it answered.
    pub exchanged: u64,
    /// How often it did not.
    pub failed: u64,
    /// Requests that were counted here alone, because it could not be told.
    pub untold: u64,
}

// === impl Store ===

impl Store {
    /// That of a system, if it has one.
    pub(crate) fn of(system: &System) -> Option<Self> {
        Some(Self::at(system.gateway.limit_store.clone()?, system.name.as_str()))
    }

    fn at(rules: LimitStore, system: &str) -> Self {
        Self {
            rules,
            prefix: format!("madang:{{{system}}}:limit"),
            down: AtomicBool::new(false),
            why: Mutex::default(),
            exchanged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }

    /// Whether it is the same in another manifest.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.rules == other.rules && self.prefix == other.prefix
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    pub(crate) fn stats(&self) -> LimitStoreStats {
        LimitStoreStats {
            store: self.rules.url.to_string(),
            down: self.why.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            exchanged: self.exchanged.load(Relaxed),
            failed: self.failed.load(Relaxed),
            untold: self.untold.load(Relaxed),
        }
    }

    fn answered(&self) {
        self.exchanged.fetch_add(1, Relaxed);
        if self.down.swap(false, Relaxed) {
            info!(store = %self.rules.url, "limits are shared again");
        }
        // Said once it is so, for whoever acts on it.
        self.say(None);
    }

    fn failed(&self, why: String) {
        self.failed.fetch_add(1, Relaxed);
        if !self.down.swap(true, Relaxed) {
            warn!(store = %self.rules.url, error = why, "limits cannot be shared");
        }
        self.say(Some(why));
    }

    fn say(&self, why: Option<String>) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// By what all gateways know whom a limit counts: nobody learns from the store who that is.
pub(crate) fn name(whose: Whose<'_>) -> u64 {
    let mut text = Vec::with_capacity(64);
    match whose {
        Whose::Network(network) => {
            text.push(b'n');
            text.extend_from_slice(&network.to_be_bytes());
        }
        Whose::Known(from, subject) => {
            text.push(b'k');
            text.extend_from_slice(&(from.len() as u64).to_be_bytes());
            text.extend_from_slice(from.as_bytes());
            text.extend_from_slice(subject.as_bytes());
        }
        Whose::Sent(value) => {
            text.push(b's');
            text.extend_from_slice(value);
        }
        Whose::All => text.push(b'a'),
    }
    short(&text)
}

/// 64 bits of it. To be counted as one certain other client takes 2^64 tries.
pub(crate) fn short(text: &[u8]) -> u64 {
    let digest = digest(&SHA256, text);
    digest.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_gateways_know_a_client_by_one_name_and_two_clients_by_two() {
        let all = [
            Whose::All,
            Whose::Network(1),
            Whose::Network(2),
            Whose::Sent(b"acme"),
            Whose::Known("ab", "c"),
            Whose::Known("a", "bc"),
        ];
        let names: std::collections::BTreeSet<_> = all.into_iter().map(name).collect();
        assert_eq!(names.len(), all.len());
        // The same in every process and version: gateways of two versions share limits while one follows the other.
        assert_eq!(format!("{:016x}", name(Whose::Sent(b"acme"))), "cbfa6174239977aa");
    }
}
