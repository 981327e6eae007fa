//! The public tests for caches (npm `http-cache-tests`), with their own server behind the gateway.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{cache::stage, stage::until};

/// How many there are for what is not a browser, and how many of them must pass.
const TESTS: usize = 350;
const PASS: usize = 263;

/// Where `cargo xtask test` installs what programs of tests use.
fn libraries() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("libraries/cache");
    assert!(folder.join("installed").exists(), "run `cargo xtask test`, which installs {}", folder.display());
    folder
}

fn program(file: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/cache").join(file));
    node.arg(libraries()).stdout(Stdio::piped()).kill_on_drop(true);
    node
}

async fn serve() -> (Child, std::net::SocketAddr) {
    let mut server = program("server.mjs").stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port: u16 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    // What it says of each test is of no interest, and must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (server, ([127, 0, 0, 1], port).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_tests_for_caches_pass_as_far_as_they_did() {
    let (_server, address) = serve().await;
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { cache = true }
        # A request that is sent again says nothing of a cache.
        policy = { retries = 0 }
    "#;
    let stage = stage(text).await.with("a", address);
    let mut run = program("run.mjs");
    run.arg(format!("http://{}", stage.address()));
    if let Ok(only) = std::env::var("CACHE_TEST") {
        run.arg(only);
    }
    let output = run.stderr(Stdio::inherit()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let results: Vec<_> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let failed: BTreeSet<&str> =
        results.iter().filter(|(_, result)| *result != "pass").map(|(id, _)| *id).collect();
    if std::env::var_os("CACHE_TEST").is_some() {
        panic!("{text}");
    }
    assert_eq!(results.len(), TESTS, "as many as there are for what is not a browser");
    let known: BTreeSet<&str> = include_str!("../programs/cache/failing.txt")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|id| !id.starts_with('#'))
        .collect();
    let new: Vec<_> =
        results.iter().filter(|(id, result)| *result != "pass" && !known.contains(id)).collect();
    assert!(new.is_empty(), "{new:#?}");
    let passed = results.len() - failed.len();
    assert!(passed >= PASS, "{passed} of {TESTS} pass");
    println!("{passed} of {TESTS} pass; these now do: {:?}", known.difference(&failed).collect::<Vec<_>>());
    until(|| stage.handle.cache().used > 0).await;
    stage.stop().await;
}
