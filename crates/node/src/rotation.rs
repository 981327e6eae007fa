//! From an instance that is ready, or gone, to the callers who must know.

use std::sync::{Mutex, PoisonError};

use madang_calls::Directory;
use madang_discovery::{Instance, Registry};
use madang_model::{InstanceId, ServiceName};
use madang_supervisor::{ReadyInstance, Rotation};

/// Registers instances, and has the gateway's directory follow before it returns: from then on no worker opens
/// a connection to an instance that is gone.
pub(crate) struct Switchboard {
    registry: Registry,
    directory: Directory,
    order: Mutex<()>,
}

impl Switchboard {
    pub(crate) fn new(registry: Registry, directory: Directory) -> Self {
        Self { registry, directory, order: Mutex::default() }
    }

    /// Says which services exist.
    pub(crate) fn declare(&self, services: impl IntoIterator<Item = ServiceName>) {
        self.change(|registry| registry.declare(services));
    }

    fn change<T>(&self, edit: impl FnOnce(&Registry) -> T) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&self.registry);
        self.directory.apply(&self.registry.snapshot());
    }
}

impl Rotation for Switchboard {
    fn ready(&self, ready: ReadyInstance) {
        let Some(address) = ready.address else { return };
        let ReadyInstance { id, services, protocol, .. } = ready;
        self.change(|registry| registry.register(&Instance { id, services, address, protocol }));
    }

    fn gone(&self, id: &InstanceId) {
        self.change(|registry| registry.deregister(id));
    }
}
