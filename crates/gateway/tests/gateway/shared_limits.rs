//! Limits that two gateways share, at a Redis of the tests' own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use http::Method;
use madang_gateway::{Connected, LimitConnector, LimitStoreStats};
use madang_model::{Protocol, edge::LimitStore};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::AbortHandle,
};

use crate::stage::{Client, Stage, config, manifest, mirror, until};

const PASSWORD: &str = "the word";

/// A server in a folder of its own, at a socket there: no port can be another's.
struct Redis {
    folder: TempDir,
    server: Child,
}

struct BySocket {
    socket: PathBuf,
    password: &'static str,
}

/// A gateway that shares its limits.
struct Sharing {
    stage: Stage,
    task: AbortHandle,
    client: Client,
}

impl Redis {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self::server(folder.path());
        let redis = Self { folder, server };
        redis.ready().await;
        redis
    }

    fn server(folder: &Path) -> Child {
        let arguments = ["--port", "0", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD];
        Command::new("redis-server")
            .args(arguments)
            .arg("--unixsocket")
            .arg(folder.join("socket"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, of the Debian package of that name")
    }

    async fn ready(&self) {
        let socket = self.socket();
        // Its socket is there a moment before it listens.
        until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    async fn start_again(&mut self) {
        // What was there for the one that was killed leads nowhere.
        fs::remove_file(self.socket()).unwrap();
        self.server = Self::server(self.folder.path());
        self.ready().await;
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.server);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it answers to one line.
    async fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        stream.write_all(format!("AUTH \"{PASSWORD}\"\r\n{line}\r\nQUIT\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.strip_prefix("+OK\r\n").and_then(|it| it.strip_suffix("+OK\r\n")).unwrap().to_owned()
    }

    fn connector(&self, password: &'static str) -> Arc<BySocket> {
        Arc::new(BySocket { socket: self.socket(), password })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl LimitConnector for BySocket {
    fn connect<'a>(&'a self, _: &'a LimitStore) -> BoxFuture<'a, io::Result<Connected>> {
        Box::pin(async {
            let stream = UnixStream::connect(&self.socket).await?;
            Ok(Connected { stream: Box::new(stream), password: Some(self.password.to_owned()) })
        })
    }
}

impl Sharing {
    async fn start(connector: Arc<BySocket>) -> Self {
        let text = r#"
            [gateway.limit_store]
            url = "redis://limits"
            [services.a]
            run = false
            [services.a.edge]
            rate_limit = { rate = "4/h", per = "header:x-tenant", name = "strict", shared = { when_down = "refuse" } }
            [[routes]]
            path = "/strict"
            to = "a"
            [[routes]]
            path = "/kind"
            to = "a"
            edge = { rate_limit = { rate = "4/h", per = "header:x-tenant", shared = { when_down = "local" } } }
        "#;
        let system = manifest(&format!("system.name = \"shop\"\n{text}"));
        let stage = Stage::start(config(), system, Vec::new()).await;
        let stage = stage.with("a", mirror(Protocol::Http).await);
        let task = tokio::spawn(stage.handle.clone().share_limits(connector)).abort_handle();
        let client = stage.client().await;
        Self { stage, task, client }
    }

    async fn ask(&mut self, path: &str, tenant: &str) -> u16 {
        self.client.ask(Method::GET, path, &[("x-tenant", tenant)]).await.status.as_u16()
    }

    fn store(&self) -> LimitStoreStats {
        self.stage.handle.limit_store().unwrap()
    }

    /// Waits until what was counted up to now is told, and what others counted is heard.
    async fn share(&self) {
        // The turn that is under way may have begun before.
        let enough = self.store().exchanged + 2;
        until(|| self.store().exchanged >= enough).await;
    }

    async fn stop(self) {
        self.task.abort();
        self.stage.stop().await;
    }
}

#[tokio::test]
async fn two_gateways_count_together() {
    let redis = Redis::start().await;
    let mut one = Sharing::start(redis.connector(PASSWORD)).await;
    let mut two = Sharing::start(redis.connector(PASSWORD)).await;
    for _ in 0..3 {
        assert_eq!(one.ask("/strict", "acme").await, 200);
    }
    one.share().await;
    // The other has not heard of this client, and hears of it once it has seen it.
    assert_eq!(two.ask("/strict", "acme").await, 200);
    two.share().await;
    assert_eq!(two.ask("/strict", "acme").await, 429, "four of four");
    assert_eq!(two.ask("/strict", "other").await, 200, "somebody else");
    assert_eq!(two.ask("/kind", "acme").await, 200, "another limit");
    // What is too much is owed: one more at the first, and none before two have come back.
    assert_eq!(one.ask("/strict", "acme").await, 200);
    one.share().await;
    let answer = one.client.ask(Method::GET, "/strict", &[("x-tenant", "acme")]).await;
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "five of four: {wait}");
    two.share().await;

    let keys = redis.ask("KEYS *").await;
    let keys: Vec<_> = keys.lines().filter(|line| line.starts_with("madang:")).collect();
    assert_eq!(keys.iter().filter(|key| key.starts_with("madang:{shop}:limit:")).count(), keys.len());
    assert!(keys.len() >= 3 && !keys.concat().contains("acme"), "{keys:?}");
    for key in keys.iter().filter(|key| !key.ends_with(":probe")) {
        let ends: i64 = redis.ask(&format!("PTTL {key}")).await[1..].trim().parse().unwrap();
        assert!((800_000..4_600_000).contains(&ends), "{key} ends in {ends} ms");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn while_the_store_is_away_it_is_as_the_manifest_says() {
    let mut redis = Redis::start().await;
    let mut gateway = Sharing::start(redis.connector(PASSWORD)).await;
    assert_eq!(gateway.ask("/strict", "acme").await, 200);
    gateway.share().await;
    redis.kill();
    until(|| gateway.store().down.is_some()).await;
    let refused = gateway.client.ask(Method::GET, "/strict", &[("x-tenant", "acme")]).await;
    assert_eq!((refused.status.as_u16(), &*refused.problem().code), (503, "MDG-GW-024"));
    assert_eq!(refused.headers["retry-after"], "1");
    for expected in [200, 200, 200, 200, 429] {
        assert_eq!(gateway.ask("/kind", "acme").await, expected, "it counts alone");
    }
    // Once it is there again it would be told.
    until(|| gateway.store().untold >= 4).await;
    redis.start_again().await;
    until(|| gateway.store().down.is_none()).await;
    assert_eq!(gateway.ask("/strict", "acme").await, 200);
    assert_eq!(gateway.ask("/kind", "acme").await, 429, "what it counted stays");
    let stats = gateway.stage.handle.limits();
    let blind: Vec<_> = stats.iter().filter(|it| it.blind > 0).map(|it| (&*it.limit, it.blind)).collect();
    assert_eq!(blind, [("service a strict", 1)]);
    assert!(gateway.store().failed > 0, "{:?}", gateway.store());
    gateway.stop().await;
}

#[tokio::test]
async fn a_store_that_hangs_holds_nobody_up() {
    let redis = Redis::start().await;
    let mut gateway = Sharing::start(redis.connector(PASSWORD)).await;
    gateway.share().await;
    redis.signal(rustix::process::Signal::STOP);
    for _ in 0..4 {
        assert_eq!(gateway.ask("/kind", "acme").await, 200);
    }
    until(|| gateway.store().down.is_some()).await;
    assert_eq!(gateway.store().down.as_deref(), Some("it has not answered within a second"));
    assert_eq!(gateway.ask("/strict", "acme").await, 503);
    redis.signal(rustix::process::Signal::CONT);
    until(|| gateway.store().down.is_none()).await;
    assert_eq!(gateway.ask("/strict", "acme").await, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_store_that_refuses_the_password_is_named_as_such() {
    let redis = Redis::start().await;
    let gateway = Sharing::start(redis.connector("another word")).await;
    until(|| gateway.store().down.is_some()).await;
    assert_eq!(gateway.store().down.as_deref(), Some("it refuses the password: WRONGPASS"));
    gateway.stop().await;
}
