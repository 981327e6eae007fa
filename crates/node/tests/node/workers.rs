//! What is not done by the threads that answer requests.

use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::owner::{MANIFEST, Owner};

/// How long the workers of this process have run, in nanoseconds.
fn worked() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let workers: Vec<_> = tasks
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("gateway-")))
        .collect();
    assert!(!workers.is_empty(), "workers have names");
    let time = |task: &std::path::PathBuf| {
        let stat = fs::read_to_string(task.join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    workers.iter().map(time).sum()
}

async fn until(owner: &Owner, path: &str, holds: impl Fn(&serde_json::Value) -> bool) {
    let waiting = async {
        while !holds(&owner.get(path).await) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.expect("it holds in time");
}

/// Routes are compiled, and metrics rendered, while the workers do nothing at all; and what is wrong is refused.
#[tokio::test(flavor = "multi_thread")]
async fn workers_neither_compile_routes_nor_render_metrics() {
    let owner = Owner::start().await;
    let system = owner.get("/v1/system").await;
    let gateway = system["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let ask = async || {
        let mut stream = TcpStream::connect(&gateway).await.unwrap();
        let request = b"GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    };
    let before = worked();
    ask().await;
    assert!(worked() > before, "a request is their work");

    // They look after a connection until it has ended.
    let mut was = 0;
    while was != worked() {
        was = worked();
        sleep(Duration::from_millis(300)).await;
    }
    let before = worked();
    let routes: Vec<String> = (0..2_000).map(|n| format!("\"/users/{n}/**\"")).collect();
    let many = MANIFEST.replace("\"/users/**\"", &routes.join(", "));
    fs::write(owner.folder.path().join("madang.toml"), &many).unwrap();
    until(&owner, "/v1/routes", |routes| routes.as_array().unwrap().len() == 2_000).await;
    for _ in 0..20 {
        let rendered = owner.ask("GET", "/metrics", &[("host", &owner.host)]).await;
        assert!(rendered.body.contains("madang_"), "{}", rendered.body);
    }
    // A bad one is refused, and the one before stays.
    fs::write(owner.folder.path().join("madang.toml"), many.replace("/users/7/**", "/users/{7/**")).unwrap();
    until(&owner, "/v1/system", |system| system["manifest_error"].is_string()).await;
    assert_eq!(owner.get("/v1/routes").await.as_array().unwrap().len(), 2_000);
    assert_eq!(worked(), before, "nanoseconds of workers who had nothing to do");
    owner.stop().await;
}
