//! From an instance that is ready, or gone, to the callers who must know.

use std::sync::{Mutex, PoisonError};

use madang_calls::Directory;
use madang_discovery::{Instance, Registry};
use madang_model::{InstanceId, ServiceName};
use madang_supervisor::{Quiet, ReadyInstance, Rotation};

/// Registers instances, and has the gateway's directory follow before it returns: from then on no worker opens
/// a connection to an instance that is gone.
pub(crate) struct Switchboard {
    registry: Registry,
    directory: Directory,
    /// Held by whoever changes something: the version that the directory follows, once it does.
    followed: Mutex<Option<u64>>,
}

impl Switchboard {
    pub(crate) fn new(registry: Registry, directory: Directory) -> Self {
        Self { registry, directory, followed: Mutex::default() }
    }

    /// Says which services exist.
    pub(crate) fn declare(&self, services: impl IntoIterator<Item = ServiceName>) {
        self.change(|registry| registry.declare(services));
    }

    /// Who is in rotation, to be read only.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Changes who is in rotation.
    pub(crate) fn change<T>(&self, edit: impl FnOnce(&Registry) -> T) -> T {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let made = edit(&self.registry);
        let endpoints = self.registry.snapshot();
        if *followed != Some(endpoints.version) {
            self.directory.apply(&endpoints);
            *followed = Some(endpoints.version);
        }
        made
    }
}

impl Rotation for Switchboard {
    fn ready(&self, ready: ReadyInstance) {
        let Some(address) = ready.address else { return };
        let ReadyInstance { id, services, protocol, release, .. } = ready;
        let instance = Instance { id, services, address, protocol, release: Some(release) };
        self.change(|registry| registry.register(&instance));
    }

    fn gone(&self, id: &InstanceId) {
        self.change(|registry| registry.deregister(id));
    }

    fn leave(&self, id: &InstanceId) -> Quiet {
        let leaving = self.directory.leaving(id);
        self.gone(id);
        Box::pin(leaving.quiet())
    }

    fn left_out(&self, service: &ServiceName, why: Option<&str>) {
        self.change(|registry| registry.leave_out(service, why));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use madang_model::{Protocol, ReleaseId};
    use madang_store::Store;

    use super::*;

    #[tokio::test]
    async fn a_change_is_in_force_when_the_call_returns_although_the_disk_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let registry = Registry::open(&state).await.unwrap();
        let directory = Directory::default();
        let switchboard = Switchboard::new(registry, directory.clone());
        let users: ServiceName = "users".parse().unwrap();
        let upstream = directory.upstream(&users);

        let (release, held) = mpsc::channel::<()>();
        let hanging = tokio::spawn({
            let state = state.clone();
            async move { state.write(move |_| Ok(held.recv().is_ok())).await }
        });
        let id = InstanceId("users-a".into());
        switchboard.ready(ReadyInstance {
            id: id.clone(),
            unit: "users".parse().unwrap(),
            services: [users].into(),
            address: Some("127.0.0.1:20001".parse().unwrap()),
            protocol: Protocol::Http,
            release: ReleaseId("r1".into()),
        });
        assert!(upstream.has_instance());
        switchboard.gone(&id);
        assert!(!upstream.has_instance());
        assert!(!hanging.is_finished());

        release.send(()).unwrap();
        assert!(hanging.await.unwrap().unwrap());
    }
}
