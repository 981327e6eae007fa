//! A service API for tests, over a system with a service of each kind.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, response::Response};
use http::{Request, StatusCode};
use madang_calls::{Directory, Killer};
use madang_discovery::{Instance, Registry};
use madang_model::{InstanceId, Protocol, ServiceName, System, UnitName, policy::FaultEffect};
use madang_telemetry::{
    Archive, ArchiveConfig, External, LogConfig, Logs, TraceConfig, Traces,
    otlp::{Receiver, Stores},
};
use madang_wire::admin::FaultView;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Inbox, ServiceApi, otlp::Intake};
use crate::{doors::Doors, faults::Faults, journal::Journal, rotation::Switchboard, tokens::Tokens};

const MANIFEST: &str = r#"
    [services.users]
    run = "users"
    timeout = "2s"
    [services.catalog]
    run = "catalog"
    [services.mail]
    url = "https://mail.example"
    listen = 3025
    [services.pos]
    run = false
    calls = ["users", "mail"]
    [services.orders]
    run = "orders"
    calls = { users = {}, catalog = { timeout = "500ms" }, mail = {} }
    [services.shelf]
    [services.cart]
    [units.core]
    services = ["shelf", "cart"]
    run = "core"
"#;

pub(super) struct Fixture {
    _folder: tempfile::TempDir,
    pub(super) switchboard: Arc<Switchboard>,
    pub(super) journal: Arc<Journal>,
    pub(super) doors: Doors,
    pub(super) inbox: Inbox,
    pub(super) system: watch::Sender<Arc<System>>,
    tokens: Tokens,
    faults: Faults,
    pub(super) killed: Arc<Killed>,
    pub(super) traces: Traces,
    pub(super) logs: Logs,
    pub(super) router: Router,
}

#[derive(Default)]
pub(super) struct Killed(pub(super) Mutex<Vec<String>>);

impl Killer for Killed {
    fn kill(&self, fault: &str, service: &ServiceName, instance: Option<&InstanceId>) {
        self.0.lock().unwrap().push(format!("{fault} {service} {}", instance.unwrap()));
    }
}

pub(super) async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("madang.toml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    let system = Arc::new(madang_model::manifest::load(&manifest, &|_| None).unwrap().system);
    let url = format!("sqlite:{}", folder.path().join("state.db").display());
    let state = madang_store::Store::open(&url).unwrap();
    let registry = Registry::open(&state).await.unwrap();
    let tokens = Tokens::open(&state, [1; crate::tokens::KEY]).await.unwrap();
    let (sender, seen) = watch::channel(system);
    let faults = Faults::open(&state).await.unwrap();
    let killed = Arc::new(Killed::default());
    let doors = Doors::new(crate::ports::KeptPorts::open(&state).await.unwrap());
    let (_, open) = doors.plan(&seen.borrow().clone(), &[]).await.unwrap().split();
    doors.opened(open);
    let switchboard = Arc::new(Switchboard::new(registry, Directory::default()));
    switchboard.declare(seen.borrow().services.keys().cloned());
    let journal = Arc::new(Journal::kept_in(folder.path()).await);
    let archive = Archive::open(&folder.path().join("traces.db"), ArchiveConfig::default()).await.unwrap();
    let traces = Traces::new(&archive, TraceConfig::default());
    let logs = Logs::new(folder.path().join("logs"), &archive, LogConfig::default());
    let stores = Stores { traces: traces.clone(), logs: logs.clone(), external: External::default() };
    let api = ServiceApi {
        switchboard: switchboard.clone(),
        system: seen,
        tokens: tokens.clone(),
        journal: journal.clone(),
        faults: faults.clone(),
        killer: killed.clone(),
        doors: doors.clone(),
        inbox: Inbox::default(),
        intake: Intake::new(
            Receiver::new(stores, None),
            Arc::new(|instance| Some(format!("release of {instance}"))),
        ),
    };
    let inbox = api.inbox.clone();
    let router = api.router(CancellationToken::new());
    Fixture {
        _folder: folder,
        switchboard,
        journal,
        doors,
        inbox,
        system: sender,
        tokens,
        faults,
        killed,
        traces,
        logs,
        router,
    }
}

impl Fixture {
    pub(super) fn token(&self, unit: &str) -> String {
        let unit: UnitName = unit.parse().unwrap();
        self.tokens.issue(&unit, &InstanceId(format!("{unit}-a").as_str().into()))
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Response {
        self.send("GET", path, token, "").await
    }

    pub(super) async fn send(&self, method: &str, path: &str, token: &str, body: &str) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let request = request.header("authorization", format!("bearer {token}"));
        self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    pub(super) fn token_of(&self, service: &str) -> String {
        self.tokens.issue_for(&service.parse().unwrap())
    }

    pub(super) fn events(&self) -> Vec<String> {
        let (events, _) = self.journal.read();
        let event = |event: &madang_wire::admin::Event| {
            let id = event.instance.as_deref().unwrap_or_default();
            format!("{} {id} {:?}: {}", event.unit, event.kind, event.message)
        };
        events.iter().map(event).collect()
    }

    pub(super) async fn fire(&self, fault: &str, token: &str, fired: &str) -> StatusCode {
        let path = format!("/v1/faults/{fault}/fired");
        self.send("POST", &path, token, fired).await.status()
    }

    pub(super) async fn fault(&self, effect: FaultEffect) -> FaultView {
        let view = FaultView {
            id: String::new(),
            caller: "orders".into(),
            callee: "users".into(),
            method: None,
            path: None,
            effect,
            percent: 100,
            since: 0,
            until: u64::MAX,
            by: String::new(),
        };
        self.faults.add(view).await.unwrap()
    }

    pub(super) fn ready(&self, service: &str) {
        let instance = Instance {
            id: InstanceId(format!("{service}-a").as_str().into()),
            services: [service.parse().unwrap()].into(),
            address: "127.0.0.1:20001".parse().unwrap(),
            protocol: Protocol::Http,
            release: None,
        };
        self.switchboard.change(|registry| registry.register(&instance));
    }
}
