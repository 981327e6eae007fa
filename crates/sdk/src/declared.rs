//! Which services one may call, and within which limits.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use madang_calls::Policy;
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

    /// What is known, or becomes known within this time.
    pub(crate) async fn known(&self, wait: Duration) -> Option<Arc<Known>> {
        if let Some(known) = self.0.borrow().clone() {
            return Some(known);
        }
        let mut changes = self.0.subscribe();
        let known = tokio::time::timeout(wait, changes.wait_for(Option::is_some)).await.ok()?.ok()?;
        known.clone()
    }
}
