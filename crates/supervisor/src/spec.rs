//! What a unit's manifest says that its instances can tell: change any of it and it is another release.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use madang_model::{
    Database, InstanceId, PortRule, Protocol, ReleaseId, ServiceName, System, Unit, UnitName,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ReadyInstance, command};

/// A unit as its instances see it.
#[derive(Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) unit: Unit,
    pub(crate) protocol: Protocol,
    pub(crate) slice: Slice,
    /// The system that has it so. What an instance is told of it is in the slice.
    pub(crate) system: Arc<System>,
}

/// The part of the manifest that makes a release, as canonical JSON: no replicas, no routes, and nothing of
/// others but the names of those that it calls, as its instances are told where these are when they start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slice(Arc<str>);

/// A release that can be started.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) id: ReleaseId,
    pub(crate) spec: Arc<Spec>,
}

/// The fields of a slice, in their order for ever: another order would make every release another one.
#[derive(Serialize)]
struct Fields<'a> {
    unit: &'a UnitName,
    folder: &'a Path,
    build: &'a Option<String>,
    run: &'a str,
    port: PortRule,
    health: &'a Option<String>,
    env: &'a BTreeMap<String, String>,
    services: Vec<ServiceFields<'a>>,
}

#[derive(Serialize)]
struct ServiceFields<'a> {
    name: &'a ServiceName,
    protocol: Protocol,
    database: Option<String>,
    calls: BTreeSet<&'a ServiceName>,
}

/// What is needed of a slice that was recorded, to watch an instance of it and to start another.
#[derive(Deserialize)]
struct Remembered {
    folder: PathBuf,
    build: Option<String>,
    run: String,
    port: PortRule,
    health: Option<String>,
    env: BTreeMap<String, String>,
    services: Vec<RememberedService>,
}

#[derive(Deserialize)]
struct RememberedService {
    name: ServiceName,
    protocol: Protocol,
}

/// The specs of a system's units.
pub(crate) fn specs(system: &Arc<System>) -> BTreeMap<UnitName, Arc<Spec>> {
    system.units.iter().map(|(name, unit)| (name.clone(), Arc::new(spec(system, unit)))).collect()
}

fn spec(system: &Arc<System>, unit: &Unit) -> Spec {
    let services = || unit.services.iter().filter_map(|name| system.services.get(name));
    let fields = Fields {
        unit: &unit.name,
        folder: &unit.folder,
        build: &unit.build,
        run: &unit.run,
        port: unit.port,
        health: &unit.health,
        env: &unit.env,
        services: services()
            .map(|service| ServiceFields {
                name: &service.name,
                protocol: service.protocol,
                database: service.database.as_ref().map(Database::url),
                calls: service.calls.keys().collect(),
            })
            .collect(),
    };
    let json = serde_json::to_string(&fields).expect("names, texts and numbers are always JSON");
    // One port serves all services of a unit, so they speak alike.
    let protocol = services().next().map(|service| service.protocol).unwrap_or_default();
    Spec { unit: unit.clone(), protocol, slice: Slice(json.into()), system: system.clone() }
}

// === impl Spec ===

impl Spec {
    /// A unit as an instance has it that a node before this one started, from the slice that was recorded of it;
    /// `None` if that is of another version.
    pub(crate) fn remembered(name: &UnitName, slice: &str, system: &Arc<System>) -> Option<Self> {
        let Remembered { folder, build, run, port, health, env, services } =
            serde_json::from_str(slice).ok()?;
        let protocol = services.first().map(|service| service.protocol).unwrap_or_default();
        let unit = Unit {
            name: name.clone(),
            services: services.into_iter().map(|service| service.name).collect(),
            folder,
            build,
            run,
            port,
            replicas: 1,
            health,
            env,
            depends_on: BTreeSet::new(),
            requires: BTreeSet::new(),
        };
        Some(Self { unit, protocol, slice: Slice(slice.into()), system: system.clone() })
    }

    /// The id of the release that a start now would run: the slice and, where `run` names a file, what is in
    /// it. Reads the file: not for a thread that others wait for.
    pub(crate) fn release_id(&self) -> io::Result<ReleaseId> {
        let mut hash = Sha256::new_with_prefix(self.slice.0.as_bytes());
        if let Some(program) = command::program_file(&self.unit.run, &self.unit.folder) {
            hash.update([0]);
            hash.update(digest(&program)?);
        }
        let mut id = String::with_capacity(12);
        for byte in &hash.finalize()[..6] {
            let _ = write!(id, "{byte:02x}");
        }
        Ok(ReleaseId(id.into()))
    }

    /// The service that stands for the unit where only one can be named.
    pub(crate) fn first_service(&self) -> &str {
        self.unit.services.first().map_or(self.unit.name.as_str(), ServiceName::as_str)
    }
}

fn digest(program: &Path) -> io::Result<[u8; 32]> {
    let mut file = match File::open(program) {
        Ok(file) => file,
        // That it is missing is said when it is started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok([0; 32]),
        Err(error) => return Err(error),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 14]; // for each unit that starts
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

// === impl Release ===

impl Release {
    /// An instance of it that can be called.
    pub(crate) fn ready(&self, id: &InstanceId, address: Option<SocketAddr>) -> ReadyInstance {
        let unit = &self.spec.unit;
        ReadyInstance {
            id: id.clone(),
            unit: unit.name.clone(),
            services: unit.services.clone(),
            address,
            protocol: self.spec.protocol,
            release: self.id.clone(),
        }
    }
}

// === impl Slice ===

impl Slice {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use madang_model::Limits;

    use super::*;
    use crate::testing::{system, unit};

    fn release(system: &System) -> ReleaseId {
        specs(&Arc::new(system.clone()))[&"users".parse::<UnitName>().unwrap()].release_id().unwrap()
    }

    #[test]
    fn replicas_and_order_of_start_make_no_other_release() {
        let base = system([unit("users", "sleep 1"), unit("orders", "sleep 1")]);
        let mut edited = base.clone();
        let users = edited.units.values_mut().find(|unit| unit.name.as_str() == "users").unwrap();
        users.replicas = 3;
        users.depends_on = ["orders".parse().unwrap()].into();
        assert_eq!(release(&base), release(&edited));
        assert_eq!(release(&base).0.len(), 12);
    }

    #[test]
    fn what_an_instance_can_tell_makes_another_release() {
        let base = system([unit("users", "sleep 1")]);
        let edits: [fn(&mut Unit); 5] = [
            |unit| unit.run = "sleep 2".into(),
            |unit| unit.folder = "/".into(),
            |unit| unit.port = PortRule::Fixed(3001),
            |unit| unit.health = Some("/ready".into()),
            |unit| drop(unit.env.insert("LEVEL".into(), "debug".into())),
        ];
        for (n, edit) in edits.into_iter().enumerate() {
            let mut edited = base.clone();
            edited.units.values_mut().for_each(edit);
            assert_ne!(release(&base), release(&edited), "edit {n}");
        }
    }

    #[test]
    fn whom_a_unit_calls_makes_another_release_and_where_that_is_does_not() {
        let mut base = system(["users", "orders", "payments"].map(|name| unit(name, "sleep 1")));
        let users = base.services.keys().find(|name| name.as_str() == "users").cloned().unwrap();
        let changed = |before: &System, after: &System| -> Vec<String> {
            let [before, after] = [before, after].map(|system| specs(&Arc::new(system.clone())));
            let changed = after.iter().filter(|(name, spec)| before[*name].slice != spec.slice);
            changed.map(|(name, _)| name.to_string()).collect()
        };
        let mut calls = base.clone();
        let orders = calls.services.values_mut().find(|service| service.name.as_str() == "orders").unwrap();
        orders.calls.insert(users.clone(), Limits::default());
        assert_eq!(changed(&base, &calls), ["orders"]);

        base = calls.clone();
        calls.services.get_mut(&users).unwrap().listen = Some(([127, 0, 0, 1], 3001).into());
        assert_eq!(changed(&base, &calls), Vec::<String>::new());
    }

    #[test]
    fn another_artifact_is_another_release() {
        let folder = tempfile::tempdir().unwrap();
        let mut users = unit("users", "./users");
        users.folder = folder.path().to_owned();
        let system = system([users]);
        let missing = release(&system);
        std::fs::write(folder.path().join("users"), "one").unwrap();
        let one = release(&system);
        std::fs::write(folder.path().join("users"), "two").unwrap();
        assert!(missing != one && one != release(&system));
    }

    #[test]
    fn what_was_recorded_of_a_unit_is_enough_to_run_it_again() {
        let mut users = unit("users", "sleep 1");
        (users.port, users.health) = (PortRule::Fixed(3001), Some("/healthz".into()));
        users.env.insert("LEVEL".into(), "debug".into());
        let system = Arc::new(system([users]));
        let spec = &specs(&system)[&"users".parse::<UnitName>().unwrap()];
        assert_eq!(Spec::remembered(&spec.unit.name, spec.slice.text(), &system).as_ref(), Some(&**spec));
        assert_eq!(Spec::remembered(&spec.unit.name, "", &system), None);
    }
}
