//! A service that keeps its rows in PostgreSQL, on a real server of the test's own.

#[allow(dead_code, reason = "each test uses its part of a process")]
mod child;
#[allow(dead_code, reason = "each test uses its part of the service")]
mod notes;
#[allow(dead_code, reason = "each test uses its part of what was told")]
mod receiver;

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use madang::test::{Placement, TestApp};
use rustix::{
    fs::Uid,
    process::{Pid, Signal, geteuid, kill_process},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// A server that is stopped, and its folder removed, when the test ends.
struct Server {
    process: Child,
    folder: TempDir,
}

impl Server {
    /// Starts a server that listens on a socket in a temporary folder and nowhere else.
    async fn start() -> Self {
        let bin = binaries();
        let folder = tempfile::Builder::new().prefix("madang-pg-").tempdir().unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = folder.path().join("data");
        let made = as_user(&bin.join("initdb"), user)
            .args(["--auth=trust", "--username=madang", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let process = as_user(&bin.join("postgres"), user)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"])
            .arg(format!("unix_socket_directories={}", folder.path().display()))
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { process, folder };
        server.until_it_accepts().await;
        server
    }

    async fn until_it_accepts(&mut self) {
        let ready = self.folder.path().join("data/postmaster.pid");
        for _ in 0..200 {
            // The server writes its state into this file; the socket alone accepts too early.
            if fs::read_to_string(&ready).is_ok_and(|text| text.contains("ready")) {
                UnixStream::connect(self.folder.path().join(".s.PGSQL.5432")).await.unwrap();
                return;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "postgres: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("postgres is not ready: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn url(&self, database: &str) -> String {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://madang@{host}/{database}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is a fast shutdown, which ends all of the server's processes.
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}

/// Where Debian puts the server's programs; the newest version.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let found = versions.map(|version| version.path()).filter(|path| path.join("bin/initdb").exists());
    let newest = found.max_by_key(|path| version(path));
    newest.expect("this test needs PostgreSQL: install the Debian package `postgresql`").join("bin")
}

/// The server refuses to run as root; then it runs as the package's own user.
fn unprivileged() -> Option<(u32, u32)> {
    if geteuid() != Uid::ROOT {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = user.expect("the package `postgresql` makes the user postgres").split(':').skip(1);
    let mut next = || fields.next().and_then(|id| id.parse().ok()).expect("a user has a number and a group");
    Some((next(), next()))
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env_clear();
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

#[tokio::test]
async fn a_missing_database_is_created_migrated_and_kept() {
    let server = Server::start().await;
    let url = server.url("notes of \"today\"".replace(' ', "%20").replace('"', "%22").as_str());
    let databases = [("notes", url.as_str())];
    let mut app = TestApp::with_databases(Placement::Together, notes::postgres(), &databases).await;
    let created = app.post("notes", "/notes", json!({ "text": "first" })).await;
    assert_eq!((created.status.as_u16(), created.json()), (200, json!({ "id": 1, "text": "first" })));
    app.restart().await;
    assert_eq!(app.get("notes", "/notes").await.json(), json!([{ "id": 1, "text": "first" }]));

    let twice = app.post("notes", "/notes", json!({ "text": "first" })).await;
    assert_eq!((twice.status.as_u16(), &twice.json()["code"]), (500, &json!("MDG-SVC-004")));
    app.stop().await;
}

#[tokio::test]
async fn processes_that_start_at_once_share_what_one_of_them_creates() {
    let server = Server::start().await;
    let url = server.url("notes");
    let databases = [("notes", url.as_str())];
    let start = || TestApp::with_databases(Placement::Together, notes::postgres(), &databases);
    let (one, two, three) = tokio::join!(start(), start(), start());
    one.post("notes", "/notes", json!({ "text": "from one" })).await;
    for app in [two, three] {
        assert_eq!(app.get("notes", "/notes").await.json(), json!([{ "id": 1, "text": "from one" }]));
        app.stop().await;
    }
    one.stop().await;
}

/// Not a test: what the child process runs.
#[test]
fn role() {
    if std::env::var(child::ROLE).is_ok() {
        let code = madang::run(notes::postgres());
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_a_span_below_its_request() {
    let server = Server::start().await;
    let (receiver, url) = receiver::Receiver::start(&["notes"]).await;
    let database = server.url("notes");
    let mut process = child::Process::start(
        "notes",
        &[
            ("MADANG_URL", &*url),
            ("MADANG_TOKEN", "secret"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%20b"),
            ("DATABASE_URL", &database),
        ],
    );
    let own = process.ready();
    assert_eq!(child::get_from(&own, "/notes", &[]).await.0.as_u16(), 200);
    process.signal(Signal::TERM);
    assert_eq!(process.ended().0, 0);

    let told = receiver.so_far();
    let (request, query) = (told.span("GET /notes"), told.span("SELECT notes"));
    assert_eq!(query.span.parent_span_id, request.span.span_id);
    assert_eq!(query.span.trace_id, request.span.trace_id);
    assert_eq!(query.attribute("db.system.name"), "postgresql");
    assert_eq!(query.attribute("db.query.text"), "SELECT id, text FROM notes ORDER BY id");
    assert_eq!(query.attribute("db.response.returned_rows"), 0);
}
