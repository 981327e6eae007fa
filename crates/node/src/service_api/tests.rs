use axum::body::to_bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use madang_model::policy::FaultEffect;

use super::{fixture::fixture, *};

#[tokio::test]
async fn an_instance_sees_what_it_declares_with_its_own_limits() {
    let fixture = fixture().await;
    fixture.ready("users");
    fixture.ready("orders");
    let answer = fixture.get("/v1/endpoints", &fixture.token("orders")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let seen: Endpoints = serde_json::from_slice(&to_bytes(answer.into_body(), 9999).await.unwrap()).unwrap();
    let names: Vec<&str> = seen.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["catalog", "mail", "users"], "orders itself is not declared");
    assert_eq!(seen.services["users"].instances.len(), 1);
    assert_eq!(seen.services["users"].policy.as_ref().unwrap().timeout, Duration::from_secs(2));
    assert_eq!(seen.services["catalog"].policy.as_ref().unwrap().timeout, Duration::from_millis(500));
    assert!(seen.services["catalog"].instances.is_empty());
    assert_eq!(seen.calls_at.as_deref(), Some("madang.toml:15"), "where to declare another");
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    let fixture = fixture().await;
    for token in ["", "orders/orders-a/00", &fixture.token("orders").replace("orders", "users")] {
        assert_eq!(fixture.get("/v1/endpoints", token).await.status(), StatusCode::UNAUTHORIZED, "{token}");
    }
    let other = fixture.get("/v1/endpoints?service=users", &fixture.token("orders")).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND, "a service of another unit");
}

#[tokio::test]
async fn a_watch_tells_of_faults_too() {
    let fixture = fixture().await;
    let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
    let mut until = async |count: usize| loop {
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let seen: Endpoints = serde_json::from_slice(&line).unwrap();
        let faults = |service: &str| seen.services[service].policy.as_ref().unwrap().faults.clone();
        assert!(faults("catalog").is_empty());
        if faults("users").len() == count {
            return faults("users");
        }
    };
    until(0).await;
    let fault = fixture.fault(FaultEffect::Hang).await;
    assert_eq!(until(1).await[0].id, fault.id);
}

/// So that what was lost on the way is not lost for long.
#[tokio::test]
async fn a_watch_tells_all_of_it_anew_every_15_seconds() {
    let fixture = fixture().await;
    fixture.ready("users");
    tokio::time::pause();
    let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
    let mut told = Vec::new();
    let began = tokio::time::Instant::now();
    while began.elapsed() < 3 * HEARTBEAT {
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let seen: Endpoints = serde_json::from_slice(&line).unwrap();
        assert_eq!(seen.services["users"].instances.len(), 1, "all of it");
        told.push(began.elapsed().as_secs());
    }
    told.dedup();
    assert_eq!(told, [0, 15, 30, 45]);
}

#[tokio::test]
async fn a_watch_tells_each_change() {
    let fixture = fixture().await;
    let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
    for expected in [0, 1] {
        let line = loop {
            let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let seen: Endpoints = serde_json::from_slice(&line).unwrap();
            // What is known at first may come twice: for the registry and for the manifest.
            if expected == 0 || !seen.services["users"].instances.is_empty() {
                break seen;
            }
        };
        assert_eq!(line.services["users"].instances.len(), expected);
        fixture.ready("users");
    }
}

/// Whoever changes the API sees it here, and whoever uses it reads it there.
#[test]
fn the_document_is_the_one_in_docs() {
    let document = ServiceApiDocument::openapi().to_pretty_json().unwrap() + "\n";
    expect_test::expect_file!["../../../../docs/openapi/service.json"].assert_eq(&document);
}

async fn json<T: serde::de::DeserializeOwned>(answer: Response) -> T {
    serde_json::from_slice(&to_bytes(answer.into_body(), 99_999).await.unwrap()).unwrap()
}

const POS: &str = "/v1/services/pos/instances";

#[tokio::test]
async fn an_instance_that_others_start_joins_renews_and_leaves() {
    let fixture = fixture().await;
    let token = fixture.token_of("pos");
    let till = format!("{POS}/till-1");
    let join = |body: &'static str| fixture.send("PUT", &till, &token, body);
    let first = join(r#"{"address": "127.0.0.1:4001", "lease": "5m"}"#).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let lease: Joined = json(first).await;
    assert_eq!((lease.lease.as_str(), lease.renew.as_str()), ("5m", "100s"));
    let left = lease.ends_at - crate::node::now();
    assert!((299_000..=300_000).contains(&left), "{left}");

    let members: Vec<Member> = json(fixture.get(POS, &token).await).await;
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].id.as_str(), members[0].address.as_str()), ("till-1", "127.0.0.1:4001"));
    assert_eq!((members[0].protocol.as_str(), members[0].joined.is_some()), ("http", true));

    assert_eq!(join("").await.status(), StatusCode::OK, "a renewal");
    assert_eq!(join(r#"{"address": "[::1]:4001", "protocol": "grpc"}"#).await.status(), StatusCode::OK);
    let members: Vec<Member> = json(fixture.get(POS, &token).await).await;
    assert_eq!((members[0].address.as_str(), members[0].protocol.as_str()), ("[::1]:4001", "grpc"));

    for _ in 0..2 {
        let gone = fixture.send("DELETE", &till, &token, "").await;
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    }
    assert!(json::<Vec<Member>>(fixture.get(POS, &token).await).await.is_empty());
    let late = join("").await;
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
    assert!(json::<Problem>(late).await.detail.unwrap().contains("send its address to join again"));
    assert_eq!(fixture.events(), ["pos till-1 Joined: at 127.0.0.1:4001, lease 5m", "pos till-1 Left: left"]);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_and_a_later_renewal_is_a_new_registration() {
    let fixture = fixture().await;
    let token = fixture.token_of("pos");
    let stopped = CancellationToken::new();
    let expiring = tokio::spawn(join::expire(
        fixture.switchboard.clone(),
        fixture.journal.clone(),
        fixture.system.subscribe(),
        stopped.clone(),
    ));
    let join = || async {
        let body = r#"{"address": "127.0.0.1:4001", "lease": "2s"}"#;
        fixture.send("PUT", &format!("{POS}/till-1"), &token, body).await.status()
    };
    let members = || async { json::<Vec<Member>>(fixture.get(POS, &token).await).await.len() };
    assert_eq!(join().await, StatusCode::CREATED);
    tokio::time::pause();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        assert_eq!(join().await, StatusCode::OK);
    }
    tokio::time::sleep(Duration::from_millis(1_998)).await;
    assert_eq!(members().await, 1);
    tokio::time::sleep(Duration::from_millis(4)).await;
    assert_eq!(members().await, 0);
    assert_eq!(join().await, StatusCode::CREATED);
    assert_eq!(members().await, 1);
    assert_eq!(fixture.events()[1], "pos till-1 Expired: did not renew its lease of 2s");
    stopped.cancel();
    expiring.await.unwrap();
}

#[tokio::test]
async fn only_who_has_a_token_of_the_service_may_join_it() {
    let fixture = fixture().await;
    let body = r#"{"address": "127.0.0.1:4001"}"#;
    let status = |service: &'static str, token: String| {
        let fixture = &fixture;
        let path = format!("/v1/services/{service}/instances/mine");
        async move { fixture.send("PUT", &path, &token, body).await.status() }
    };
    assert_eq!(status("pos", String::new()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("pos", fixture.token_of("users")).await, StatusCode::FORBIDDEN);
    assert_eq!(status("pos", fixture.token("users")).await, StatusCode::FORBIDDEN);
    assert_eq!(status("users", fixture.token("users")).await, StatusCode::CREATED, "an instance its own");
    assert_eq!(status("orders", fixture.token_of("orders")).await, StatusCode::CREATED);
    assert_eq!(status("mail", fixture.token_of("mail")).await, StatusCode::CONFLICT, "it has a url");

    let unknown = fixture.send("PUT", "/v1/services/po/instances/a", &fixture.token_of("pos"), body).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(json::<Problem>(unknown).await.detail.unwrap().ends_with("did you mean \"pos\"?"));

    fixture.ready("users");
    let (path, token) = ("/v1/services/users/instances/users-a", fixture.token("users"));
    let taken = fixture.send("PUT", path, &token, body).await;
    assert_eq!(taken.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn who_joined_may_ask_where_the_services_are_that_it_calls() {
    let fixture = fixture().await;
    fixture.ready("users");
    fixture.ready("mail");
    let seen: Endpoints = json(fixture.get("/v1/endpoints", &fixture.token_of("pos")).await).await;
    assert_eq!(seen.services.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["mail", "users"]);
    let mail = &seen.services["mail"].instances;
    assert_eq!(mail[0].address, "127.0.0.1:3025".parse().unwrap(), "what has a url is called over Madang");
    assert_eq!(mail.len(), 1);
    let seen: Endpoints = json(fixture.get("/v1/endpoints", &fixture.token("orders")).await).await;
    let (door, system) = (&seen.services["mail"].instances, fixture.system.borrow().clone());
    assert_eq!(
        door[0].address,
        fixture.doors.of(&system, &system.units["orders"])["mail"],
        "a unit has a door"
    );
    let other = fixture.get("/v1/endpoints?service=orders", &fixture.token_of("pos")).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_join_is_told_all_that_is_wrong() {
    let fixture = fixture().await;
    let token = fixture.token_of("pos");
    let check = |id: &'static str, body: &'static str, fields: &'static [&'static str]| {
        let (fixture, token) = (&fixture, &token);
        async move {
            let answer = fixture.send("PUT", &format!("{POS}/{id}"), token, body).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{id} {body}");
            let problem: Problem = json(answer).await;
            let named: Vec<_> = problem.errors.iter().map(|error| error.field.as_str()).collect();
            assert_eq!(named, fields, "{id} {body}: {problem:?}");
        }
    };
    let good = r#"{"address": "127.0.0.1:4001"}"#;
    check("a%2Fb", good, &["id"]).await;
    check("%C3%A9", good, &["id"]).await;
    check("a", "no", &[]).await;
    check("a", r#"{"adress": "127.0.0.1:4001"}"#, &[]).await;
    check("a", r#"{"address": "localhost:4001"}"#, &["address"]).await;
    check("a", r#"{"address": "127.0.0.1"}"#, &["address"]).await;
    check("a", r#"{"address": "127.0.0.1:0"}"#, &["address"]).await;
    check("a", r#"{"address": "0.0.0.0:4001"}"#, &["address"]).await;
    check("a", r#"{"address": "127.0.0.1:4001", "lease": "999ms"}"#, &["lease"]).await;
    check("a", r#"{"address": "127.0.0.1:4001", "lease": "301s"}"#, &["lease"]).await;
    check("a", r#"{"address": "x", "lease": "10", "protocol": "h3"}"#, &["address", "protocol", "lease"])
        .await;
    assert!(json::<Vec<Member>>(fixture.get(POS, &token).await).await.is_empty());
}
