//! Which services one may call, and within which limits.

use std::{collections::BTreeMap, sync::Arc};

use madang_calls::{Lane, Policy};
use madang_model::ServiceName;
use tokio::sync::watch;

/// What is declared.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The services that may be called.
    pub(crate) callees: BTreeMap<ServiceName, Callee>,
    /// Where in the manifest they are declared, if a node has said so.
    pub(crate) calls_at: Option<String>,
}

/// A service that may be called: the way to it, and the limits.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    pub(crate) lane: Arc<Lane>,
    pub(crate) policy: Arc<Policy>,
}

/// Which services one may call: nothing is known until the service API has answered once.
#[derive(Clone)]
pub(crate) struct Declared(watch::Sender<Option<Arc<Known>>>);

impl Declared {
    /// Nothing known yet.
    pub(crate) fn unknown() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Takes over what is known now.
    pub(crate) fn set(&self, known: Known) {
        self.0.send_replace(Some(Arc::new(known)));
    }

    /// What is known.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        self.0.borrow().clone()
    }

    /// What is known once this holds.
    pub(crate) async fn when(&self, holds: impl Fn(&Known) -> bool) -> Arc<Known> {
        let mut changes = self.0.subscribe();
        let known = changes.wait_for(|known| known.as_ref().is_some_and(|known| holds(known))).await;
        match known.ok().and_then(|known| known.clone()) {
            Some(known) => known,
            // The sender lives as long as `self`.
            None => std::future::pending().await,
        }
    }
}
