//! Doors: listeners on loopback through which programs without the SDK call the services that they declare.
//!
//! A unit has one for each service that one of its own calls. It stays open as long as something runs, or would be
//! started, that was told of it: longer than the manifest says so, when a call is taken out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use madang_gateway::{Door, Listener};
use madang_model::{ServiceName, System, Unit, UnitName};
use tracing::warn;

use crate::ports::{self, KeptPorts, Place};

/// The unit and the service that it calls.
type Key = (UnitName, ServiceName);

/// Where the doors of a node are. Cloning gives the same.
#[derive(Clone)]
pub(crate) struct Doors {
    ports: KeptPorts,
    open: Arc<RwLock<BTreeMap<Key, SocketAddr>>>,
}

/// All doors that there should be, and the sockets of those that are not open yet.
pub(crate) struct Plan {
    pub(crate) doors: Vec<Door>,
    pub(crate) listeners: Vec<Listener>,
    open: BTreeMap<Key, SocketAddr>,
}

/// Why doors cannot be as they should.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A door cannot listen.
    #[error("failed to listen for the calls of {unit} to {callee}")]
    Listen {
        /// Whose it is.
        unit: UnitName,
        /// Where it leads.
        callee: ServiceName,
        /// Why.
        source: io::Error,
    },
    /// A program or listener insists on the port of a door that is open.
    #[error(
        "port {port} is where {unit} calls {callee}, and what runs was told so: choose another port, or start the \
         system anew"
    )]
    Taken {
        /// The port.
        port: u16,
        /// Whose door it is.
        unit: UnitName,
        /// Where it leads.
        callee: ServiceName,
    },
}

// === impl Doors ===

impl Doors {
    pub(crate) fn new(ports: KeptPorts) -> Self {
        Self { ports, open: Arc::default() }
    }

    /// What should be open for this system, and for those that `told` says units are still told from. Doors that are
    /// open stay where they are.
    pub(crate) async fn plan(
        &self,
        system: &System,
        told: &[(UnitName, Arc<System>)],
    ) -> Result<Plan, DoorError> {
        let insisted = ports::insisted_on(system);
        let known = self.addresses();
        let mut plan = Plan { doors: Vec::new(), listeners: Vec::new(), open: BTreeMap::new() };
        for ((unit, callee), callers) in wanted(system, told) {
            let key = (unit.clone(), callee.clone());
            let address = match known.get(&key) {
                Some(address) if insisted.contains(&address.port()) => {
                    return Err(DoorError::Taken { port: address.port(), unit, callee });
                }
                Some(address) => *address,
                None => {
                    let listener = self.listen(&key, system).await;
                    let listener = listener.map_err(|source| DoorError::Listen {
                        unit,
                        callee: callee.clone(),
                        source,
                    })?;
                    let address = listener.local_addr();
                    plan.listeners.push(listener);
                    address
                }
            };
            plan.open.insert(key, address);
            plan.doors.push(Door { address, callee, callers: callers.into_iter().collect() });
        }
        Ok(plan)
    }

    /// The doors of a plan are open.
    pub(crate) fn opened(&self, open: BTreeMap<Key, SocketAddr>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open;
    }

    /// Where a unit calls the services that it declares.
    pub(crate) fn of(&self, system: &System, unit: &Unit) -> BTreeMap<ServiceName, SocketAddr> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let callees = declared(system, unit).map(|(callee, _)| callee);
        callees
            .filter_map(|callee| Some((callee.clone(), *open.get(&(unit.name.clone(), callee.clone()))?)))
            .collect()
    }

    fn addresses(&self) -> BTreeMap<Key, SocketAddr> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn listen(&self, (unit, callee): &Key, system: &System) -> io::Result<Listener> {
        let (listener, place) = self.ports.listener(&format!("door/{unit}/{callee}"), system).await?;
        if let Place::Moved { from } = place {
            warn!(%unit, %callee, from, "a door moved, as its port is taken");
        }
        Listener::from_std(listener.into_std()?)
    }
}

// === impl Plan ===

impl Plan {
    /// Takes it apart: what the gateway is to open, and where that is.
    pub(crate) fn split(self) -> (Vec<Listener>, BTreeMap<Key, SocketAddr>) {
        (self.listeners, self.open)
    }

    /// Whether it has other doors than are open.
    pub(crate) fn differs(&self, doors: &Doors) -> bool {
        self.open != doors.addresses()
    }
}

/// The doors that there should be, each with the services of the unit that it is for.
fn wanted(system: &System, told: &[(UnitName, Arc<System>)]) -> BTreeMap<Key, BTreeSet<ServiceName>> {
    let now = system.units.keys().map(|name| (name, system));
    let before = told.iter().map(|(name, system)| (name, &**system));
    let mut wanted: BTreeMap<Key, BTreeSet<ServiceName>> = BTreeMap::new();
    for (name, system) in now.chain(before) {
        let Some(unit) = system.units.get(name) else { continue };
        for (callee, caller) in declared(system, unit) {
            wanted.entry((name.clone(), callee.clone())).or_default().insert(caller.clone());
        }
    }
    wanted
}

/// What the services of a unit call, each with who does.
fn declared<'a>(
    system: &'a System,
    unit: &'a Unit,
) -> impl Iterator<Item = (&'a ServiceName, &'a ServiceName)> {
    let callers = unit.services.iter().filter_map(|name| system.services.get(name));
    callers.flat_map(|caller| caller.calls.keys().map(|callee| (callee, &caller.name)))
}

#[cfg(test)]
mod tests {
    use madang_store::Store;
    use tempfile::TempDir;

    use super::*;

    struct Fixture {
        folder: TempDir,
        doors: Doors,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
            let doors = Doors::new(KeptPorts::open(&state).await.unwrap());
            Self { folder, doors }
        }

        fn system(&self, manifest: &str) -> Arc<System> {
            std::fs::write(self.folder.path().join("madang.toml"), manifest).unwrap();
            Arc::new(madang_model::manifest::load(self.folder.path(), &|_| None).unwrap().system)
        }

        /// Opens what a system wants; the sockets, and what is open as `unit>callee: callers`.
        async fn open(
            &self,
            system: &System,
            told: &[(UnitName, Arc<System>)],
        ) -> (Vec<Listener>, Vec<String>) {
            let plan = self.doors.plan(system, told).await.unwrap();
            let shown = plan.open.keys().zip(&plan.doors).map(|((unit, callee), door)| {
                let callers: Vec<_> = door.callers.iter().map(ServiceName::as_str).collect();
                format!("{unit}>{callee}: {}", callers.join(" "))
            });
            let shown = shown.collect();
            let (listeners, open) = plan.split();
            self.doors.opened(open);
            (listeners, shown)
        }
    }

    const SYSTEM: &str = r#"
        services.users = { run = "users" }
        services.mail = { run = "mail" }
        services.orders = { run = "orders", calls = { users = {}, mail = {} } }
        services.cart = { calls = { users = {} } }
        services.pay = { calls = { users = {}, cart = {} } }
        [units.core]
        services = ["pay", "cart"]
        run = "core"
    "#;

    #[tokio::test]
    async fn a_unit_has_one_for_each_service_that_it_calls() {
        let fixture = Fixture::new().await;
        let system = fixture.system(SYSTEM);
        let (listeners, open) = fixture.open(&system, &[]).await;
        assert_eq!(
            open,
            ["core>cart: pay", "core>users: cart pay", "orders>mail: orders", "orders>users: orders"]
        );
        assert_eq!(listeners.len(), 4);
        let of_orders = fixture.doors.of(&system, &system.units["orders"]);
        assert_eq!(of_orders.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["mail", "users"]);
        assert!(of_orders.values().all(|address| address.ip().is_loopback()));
        assert!(fixture.doors.of(&system, &system.units["users"]).is_empty());
    }

    #[tokio::test]
    async fn an_edit_opens_what_is_new_and_keeps_what_is_still_told_to_somebody() {
        let fixture = Fixture::new().await;
        let before = fixture.system(SYSTEM);
        let (_listeners, _) = fixture.open(&before, &[]).await;
        let where_users_is = fixture.doors.of(&before, &before.units["orders"])["users"];

        let after = fixture.system(&SYSTEM.replace("users = {}, mail = {}", "users = {}, cart = {}"));
        let runs = [("orders".parse().unwrap(), before)];
        let (fresh, open) = fixture.open(&after, &runs).await;
        assert_eq!(open[2..], ["orders>cart: orders", "orders>mail: orders", "orders>users: orders"]);
        assert_eq!(fresh.len(), 1, "the others are open");
        assert_eq!(fixture.doors.of(&after, &after.units["orders"])["users"], where_users_is);
        assert!(!fixture.doors.plan(&after, &runs).await.unwrap().differs(&fixture.doors));

        assert!(fixture.doors.plan(&after, &[]).await.unwrap().differs(&fixture.doors));
        let (_, open) = fixture.open(&after, &[]).await;
        assert_eq!(open[2..], ["orders>cart: orders", "orders>users: orders"]);
    }

    #[tokio::test]
    async fn a_port_that_is_told_is_refused_to_the_manifest() {
        let fixture = Fixture::new().await;
        let system = fixture.system(SYSTEM);
        let (_listeners, _) = fixture.open(&system, &[]).await;
        let port = fixture.doors.of(&system, &system.units["orders"])["users"].port();
        let edited = fixture.system(&format!("{SYSTEM}\n[services.new]\nrun = 'new'\nport = {port}"));
        let refused = fixture.doors.plan(&edited, &[]).await.err().unwrap().to_string();
        assert!(refused.starts_with(&format!("port {port} is where orders calls users")), "{refused}");
    }
}
