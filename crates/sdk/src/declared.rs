//! Which services one may call, and within which limits.

use std::{collections::BTreeMap, sync::Arc};

use madang_calls::{Deadline, Policy};
use madang_model::ServiceName;
use tokio::sync::watch;

/// The services that may be called, each with the limits of a call to it.
pub(crate) type Known = BTreeMap<ServiceName, Arc<Policy>>;

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

    /// What becomes known by then.
    pub(crate) async fn become_known(&self, due: Deadline) -> Option<Arc<Known>> {
        let mut changes = self.0.subscribe();
        let known = tokio::time::timeout_at(due.0, changes.wait_for(Option::is_some)).await.ok()?.ok()?;
        known.clone()
    }
}
