//! A system that does not exist: its folder, its admin API, and the binary run against them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use expect_test::Expect;
use madang_wire::admin::{
    Event, EventKind, HealthView, InstanceView, RouteView, ServiceView, State, SystemView, TargetView,
};
use serde::Serialize;
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::UnixListener,
    process::{Child, Command},
    sync::mpsc,
};

/// A folder for a system and a folder for its socket.
pub struct Fake {
    root: TempDir,
    runtime: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a run of the binary came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Fake {
    /// A system that does not run.
    pub fn down() -> Self {
        let folder = || tempfile::Builder::new().prefix("madang").tempdir_in("/tmp").unwrap();
        Self { root: folder(), runtime: folder(), asked: Arc::default() }
    }

    /// A system that runs, with this admin API.
    pub fn up(api: Router) -> Self {
        let fake = Self::down();
        let listener = fake.bind();
        let asked = fake.asked.clone();
        let api = api.layer(from_fn(move |request: Request, next: Next| {
            let asked = asked.clone();
            async move {
                asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
                next.run(request).await
            }
        }));
        tokio::spawn(async move { axum::serve(listener, api).await });
        fake
    }

    /// Leaves a socket behind that nobody listens at.
    pub fn leave_socket(&self) {
        drop(self.bind());
    }

    fn bind(&self) -> UnixListener {
        let socket = self.socket();
        fs::DirBuilder::new().mode(0o700).create(socket.parent().unwrap()).unwrap();
        UnixListener::bind(socket).unwrap()
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.root.path().join(name), content).unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    /// What was asked of the admin API so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Where systems of this user have their sockets.
    pub fn folder_of_sockets(&self) -> PathBuf {
        self.runtime.path().join("madang")
    }

    fn socket(&self) -> PathBuf {
        let here = madang_node::socket::path(&self.root());
        self.runtime.path().join("madang").join(here.file_name().unwrap())
    }

    /// The binary, in the system's folder.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_madang"));
        command
            .args(args)
            .current_dir(self.root.path())
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("TZ", "UTC");
        command.env_remove("NO_COLOR").env_remove("MADANG_ENV").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs the binary with words separated by spaces.
    pub async fn run(&self, args: &str) -> Ran {
        self.ran(self.command(args.split_whitespace())).await
    }

    pub async fn ran(&self, mut command: Command) -> Ran {
        let output = command.output().await.unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.root().display().to_string(), "[ROOT]")
        };
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the binary and compares exit code, stdout and stderr.
    pub async fn check(&self, args: &str, expected: Expect) {
        expected.assert_eq(&self.run(args).await.to_string());
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}", self.code, self.stdout)?;
        if self.stderr.is_empty() { Ok(()) } else { write!(f, "--- stderr\n{}", self.stderr) }
    }
}

/// A process that stands for a node: it ends when told to.
pub struct Process(Child);

impl Process {
    pub fn start() -> Self {
        let cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn();
        Self(cat.unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id().unwrap()
    }

    pub async fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().await.unwrap();
    }
}

/// Reads what a running command has printed, up to a text that must come.
pub async fn read_until(stdout: &mut (impl tokio::io::AsyncRead + Unpin), end: &str) -> String {
    let mut read = String::new();
    while !read.contains(end) {
        let mut bytes = [0; 1024];
        match stdout.read(&mut bytes).await.unwrap() {
            0 => panic!("{end:?} did not come after {read:?}"),
            n => read.push_str(std::str::from_utf8(&bytes[..n]).unwrap()),
        }
    }
    read
}

/// An answer that is always the same.
pub fn always<T: Serialize + Clone + Send + Sync + 'static>(document: T) -> axum::routing::MethodRouter {
    get(move || async move { Json(document) })
}

/// Documents one a line.
pub fn ndjson<T: Serialize>(documents: &[T]) -> String {
    documents.iter().map(|document| serde_json::to_string(document).unwrap() + "\n").collect()
}

/// A stream, for one reader, whose documents the test sends until it drops the sender.
pub fn stream<T: Serialize + Send + 'static>(documents: mpsc::Receiver<T>) -> axum::routing::MethodRouter {
    let documents = Arc::new(Mutex::new(Some(documents)));
    get(move || async move {
        let documents = documents.lock().unwrap().take().expect("one reader");
        let lines = futures_util::stream::unfold(documents, |mut documents| async {
            let line = serde_json::to_string(&documents.recv().await?).unwrap() + "\n";
            Some((Ok::<_, std::io::Error>(line), documents))
        });
        Response::new(axum::body::Body::from_stream(lines))
    })
}

pub fn system(pid: u32, ready: bool) -> SystemView {
    SystemView {
        name: "shop".into(),
        manifest: "/shop/madang.toml".into(),
        isolated: None,
        gateway: "http://127.0.0.1:3000".into(),
        authority: None,
        client_authorities: None,
        dashboard: None,
        pid,
        version: "0.1.0".into(),
        started_at: 1_000,
        ready,
        manifest_error: None,
        degraded: None,
        forward: None,
        requests: 0,
        records_dropped: 0,
    }
}

pub fn instance(name: &str, unit: &str, state: State) -> InstanceView {
    InstanceView {
        name: name.into(),
        unit: unit.into(),
        services: vec![unit.into()],
        release: None,
        state,
        health: "ready".into(),
        restarts: 0,
        pid: None,
        memory: None,
        cpu_us: None,
        url: None,
        since: 0,
        reason: None,
        log: None,
        lease_ends: None,
        by_hand: false,
    }
}

/// One instance of each kind that looks different.
pub fn instances() -> Vec<InstanceView> {
    let users = InstanceView {
        release: Some("a1b2c3d4e5f6".into()),
        pid: Some(4711),
        memory: Some(13_003_000),
        url: Some("http://127.0.0.1:41000".into()),
        ..instance("users-k3x9qd", "users", State::Ready)
    };
    let orders = InstanceView {
        health: "waits for users (3 s)".into(),
        ..instance("orders", "orders", State::Waiting)
    };
    let payments = InstanceView {
        health: "exit status 1".into(),
        restarts: 5,
        reason: Some("exited 5 times in 3 s: exit status 1\nthe port is taken".into()),
        log: Some("/shop/.madang/logs/payments/payments-x1.log".into()),
        lease_ends: None,
        ..instance("payments-x1", "payments", State::Failed)
    };
    vec![users, orders, payments]
}

pub fn route(path: &str, to: &[(&str, u32)]) -> RouteView {
    let target = |(service, weight): &(&str, u32)| TargetView { service: (*service).into(), weight: *weight };
    RouteView {
        host: None,
        path: path.into(),
        methods: Vec::new(),
        headers: Vec::new(),
        to: to.iter().map(target).collect(),
        redirect: None,
        edge: Vec::new(),
        require: None,
        place: "madang.toml:7".into(),
    }
}

pub fn service(name: &str) -> ServiceView {
    ServiceView {
        name: name.into(),
        owner: None,
        domain: None,
        url: None,
        unit: Some(name.into()),
        run: Some(format!("node {name}.js")),
        folder: Some("/shop".into()),
        listen: None,
        calls: Vec::new(),
        protocol: "http".into(),
        database: None,
        routes: Vec::new(),
        instances: Vec::new(),
        health: HealthView { service: name.into(), ..HealthView::default() },
    }
}

pub fn event(unit: &str, kind: EventKind, message: &str) -> Event {
    Event { at: 1_000, unit: unit.into(), instance: None, release: None, kind, message: message.into() }
}
