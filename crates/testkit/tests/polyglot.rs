//! Services in several languages with nothing of Madang's in them, each calling each through its doors.

use std::{collections::BTreeSet, env, path::PathBuf, time::Duration};

use http::StatusCode;
use madang_testkit::{Answer, Placement, Prepared, TestSystem};
use madang_wire::admin::State;
use serde_json::Value;
use tokio::time::Instant;

/// The services of the example, each with the program that its language takes.
const LANGUAGES: [(&str, Option<&str>); 4] =
    [("java", Some("java")), ("node", Some("node")), ("python", Some("python3")), ("rust", None)];

fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn stops(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let stops = answer.json();
    let stops = stops["stops"].as_array().expect("stops").iter();
    stops.map(|stop| stop["service"].as_str().expect("a name").to_owned()).collect()
}

/// The records of one request from outside and of the calls made for it.
async fn records_of(system: &TestSystem, id: &str) -> Vec<Value> {
    let records = system.admin("/v1/requests?n=500").await;
    let records = records.as_array().expect("a list").iter();
    records.filter(|record| record["request_id"] == id).cloned().collect()
}

#[tokio::test]
async fn each_language_calls_each_other_through_its_doors() {
    for (service, program) in LANGUAGES {
        let missing = program.filter(|program| installed(program).is_none());
        assert!(missing.is_none(), "{service} needs {missing:?}, which `cargo xtask test` installs");
    }
    let mut system = Prepared::polyglot().start(Placement::Processes).await;
    for (from, _) in LANGUAGES {
        for (to, _) in LANGUAGES.into_iter().filter(|(to, _)| *to != from) {
            let answer = system.get(&format!("/{from}/trip/{to}")).await;
            assert_eq!(stops(&answer), [from, to]);
        }
    }

    // One trip is one trace, whoever passes it on, and every leg of it is recorded with its caller.
    let answer = system.get("/node/trip/python/java/rust/node").await;
    assert_eq!(stops(&answer), ["node", "python", "java", "rust", "node"]);
    let id = answer.headers["x-request-id"].to_str().unwrap();
    let trip = records_of(&system, id).await;
    let text = |record: &Value, field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let traces: BTreeSet<_> = trip.iter().map(|record| text(record, "trace_id")).collect();
    assert_eq!((trip.len(), traces.len()), (5, 1), "{trip:?}");
    let doors = trip.iter().filter(|record| record["hop"] == "door");
    let legs: BTreeSet<_> =
        doors.map(|record| text(record, "caller") + "-" + &text(record, "service")).collect();
    assert!(legs.iter().eq(["java-rust", "node-python", "python-java", "rust-node"]), "{legs:?}");
    system.down().await;
}

#[tokio::test]
async fn a_language_that_is_not_installed_is_named_and_left_out() {
    let polyglot = Prepared::polyglot().without_programs(&["java", "node"]);
    let mut system = polyglot.start(Placement::Processes).await;
    for line in
        ["java    left out: `java` is not in PATH", "  left out  java             `java` is not in PATH"]
    {
        system.until(line, |_| system.output().contains(line)).await;
    }
    let shown = system.ps().await;
    let states: Vec<_> = shown.iter().map(|view| (view.unit.as_str(), view.state)).collect();
    let expected = [
        ("python", State::Ready),
        ("rust", State::Ready),
        ("java", State::LeftOut),
        ("node", State::LeftOut),
    ];
    assert_eq!(states, expected);

    // Who is there is called; a call to who is not says so at once, from outside and from a service.
    assert_eq!(stops(&system.get("/python/trip/rust").await), ["python", "rust"]);
    let began = Instant::now();
    let answer = system.get("/java/trip").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert_eq!(answer.json()["code"], "MDG-CALL-010");
    assert_eq!(answer.json()["detail"], "java is left out: `java` is not in PATH");
    let answer = system.get("/rust/trip/node").await;
    assert!(answer.text().contains("node is left out"), "{} {}", answer.status, answer.text());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let described = system.run(&["describe", "java"]).await;
    assert!(described.contains("left out  `java` is not in PATH"), "{described}");

    // What was missing is looked for again when it is told to restart.
    let restart = system.madang(&["restart", "java"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&restart.stderr).into_owned();
    assert_eq!(restart.status.code(), Some(1), "{said}");
    assert!(said.contains("java is left out: `java` is not in PATH"), "{said}");
    system.down().await;
}
