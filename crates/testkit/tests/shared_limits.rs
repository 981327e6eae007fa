//! A limit that two systems share over a Redis with a password, as their owner sets it up and sees it.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use http::Method;
use madang_testkit::{Placement, Prepared, TestSystem, free_port};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep},
};

const PASSWORD: &str = "redis says: open";

const SYSTEM: &str = r#"
    [system]
    name = "shop"

    [gateway]
    listen = "127.0.0.1:{gateway}"

    [gateway.limit_store]
    url = "redis://127.0.0.1:{store}"
    password = "${secret.limits}"

    [services.people]
    run = "python3 people.py"
    routes = ["/**"]
    edge = { rate_limit = { rate = "4/h", shared = { when_down = "refuse" } } }
"#;

/// A server on a port of its own, with nothing on the disk.
struct Redis {
    port: u16,
    _folder: TempDir,
    server: Child,
}

impl Redis {
    async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let server = Self::server(port, folder.path());
        let redis = Self { port, _folder: folder, server };
        redis.ready().await;
        redis
    }

    fn server(port: u16, folder: &Path) -> Child {
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD])
            .args(["--port", &port.to_string()])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, of the Debian package of that name")
    }

    async fn ready(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < until, "Redis listens");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn start(store: u16) -> TestSystem {
    let prepared = Prepared::with(&SYSTEM.replace("{store}", &store.to_string()));
    prepared.write("people.py", include_str!("programs/people.py"));
    prepared.write("service.py", include_str!("programs/service.py"));
    prepared.write("word", PASSWORD);
    let home = prepared.path().display().to_string();
    let mut set = prepared.madang(&["secret", "set", "limits", "--from", "word"]);
    assert!(set.env("HOME", &home).status().await.unwrap().success());
    prepared.with_variable("HOME", &home).start(Placement::Processes).await
}

async fn ask(system: &TestSystem) -> u16 {
    system.client().send(Method::GET, "/", &[], String::new()).await.unwrap().status.as_u16()
}

/// What the metric of this name says, by the line that begins with this.
async fn metric(system: &TestSystem, line: &str) -> Option<f64> {
    let text = system.admin_text("/metrics").await;
    text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn degraded(system: &TestSystem) -> Option<String> {
    system.admin("/v1/system").await["degraded"].as_str().map(str::to_owned)
}

const ANSWERED: &str = "madang_gateway_limit_store_exchanges_total{result=\"answered\"}";

#[tokio::test(flavor = "multi_thread")]
async fn two_systems_share_a_limit_and_say_so_when_they_cannot() {
    let mut redis = Redis::start().await;
    let (one, two) = (start(redis.port).await, start(redis.port).await);
    let told = async |system: &TestSystem| {
        let before = metric(system, ANSWERED).await.unwrap_or_default();
        until("it is told", || async { metric(system, ANSWERED).await >= Some(before + 2.0) }).await;
    };
    for _ in 0..4 {
        assert_eq!(ask(&one).await, 200);
    }
    told(&one).await;
    assert_eq!(ask(&two).await, 200, "it has not heard of this client");
    told(&two).await;
    assert_eq!(ask(&two).await, 429);
    assert_eq!(metric(&two, "madang_gateway_limit_store_up").await, Some(1.0));
    assert_eq!(degraded(&two).await, None);

    redis.kill();
    until("it is said", || async { degraded(&two).await.is_some() }).await;
    let said = degraded(&two).await.unwrap();
    let store = format!("redis://127.0.0.1:{}/0", redis.port);
    assert!(
        said.starts_with(&format!("rate limits are not shared, because {store} cannot be asked: ")),
        "{said}"
    );
    let shown = two.madang(&["ps"]).output().await.unwrap().stderr;
    assert!(String::from_utf8_lossy(&shown).contains("degraded: rate limits are not shared"));
    assert_eq!(metric(&two, "madang_gateway_limit_store_up").await, Some(0.0));
    assert_eq!(ask(&two).await, 503);
    assert_eq!(
        metric(&two, "madang_gateway_rate_limit_blind_total{limit=\"service people address\"}").await,
        Some(1.0)
    );

    until("it is an event", || async { two.run(&["events"]).await.contains("rate limits are not shared") })
        .await;
    redis.server = Redis::server(redis.port, redis._folder.path());
    redis.ready().await;
    until("it is over", || async { degraded(&two).await.is_none() }).await;
    assert_eq!(ask(&two).await, 429, "what it knew of the client it knows still");
    let events = || async { two.run(&["events"]).await };
    until("both are told", || async { events().await.contains("rate limits are shared again") }).await;
    let events = events().await;
    assert!(events.contains("rate limits are not shared") && !events.contains(PASSWORD), "{events}");
}
