//! The manifest is edited while requests come: the difference is applied and nothing else, and none fails.

use http::StatusCode;
use madang_testkit::{Load, Placement, Prepared};
use madang_wire::admin::State;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_under_load_fails_no_request_and_touches_nothing_else() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let untouched = [shop.pids("orders").await, shop.pids("payments").await, shop.pids("catalog").await];
    let old = shop.pids("users").await;
    let load = Load::start(shop.gateway_address(), "/users/1", 8);
    let products = Load::start(shop.gateway_address(), "/products?limit=1", 2);
    load.answered(100).await;

    shop.edit("users/service.toml", "name = \"users\"", "name = \"users\"\nenv = { GREETING = \"hello\" }");
    shop.until("a new release of users", |shown| {
        let users: Vec<_> = shown.iter().filter(|view| view.unit == "users").collect();
        users.len() == 1 && users[0].state == State::Ready && !old.contains(&users[0].pid.unwrap_or(0))
    })
    .await;
    shop.edit("users/service.toml", "[[routes]]", "[[routes]]\npath = \"/people/**\"\n\n[[routes]]");
    while shop.get("/people/1").await.json()["code"] == "MDG-GW-001" {
        load.answered(10).await;
    }
    load.answered(100).await;

    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    let report = products.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    let after = [shop.pids("orders").await, shop.pids("payments").await, shop.pids("catalog").await];
    assert_eq!(after, untouched);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_and_go() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let first = shop.pids("users").await;
    let load = Load::start(shop.gateway_address(), "/users/1", 4);
    shop.edit("users/service.toml", "name = \"users\"", "name = \"users\"\nreplicas = 3");
    let ready = |count: usize| {
        move |shown: &[madang_wire::admin::InstanceView]| {
            shown.iter().filter(|view| view.unit == "users" && view.state == State::Ready).count() == count
                && shown.iter().filter(|view| view.unit == "users").count() == count
        }
    };
    shop.until("three instances", ready(3)).await;
    assert!(shop.pids("users").await.contains(&first[0]), "scaling keeps what runs");
    shop.edit("users/service.toml", "replicas = 3", "replicas = 1");
    shop.until("one instance", ready(1)).await;
    load.answered(50).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_is_refused_and_changes_nothing() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let before = shop.pids("users").await;
    shop.edit("users/service.toml", "name = \"users\"", "name = \"users\"\nreplicsa = 2");
    let refused = || async {
        let check = shop.madang(&["check"]).output().await.unwrap();
        (check.status.code(), String::from_utf8_lossy(&check.stderr).into_owned())
    };
    let (code, printed) = refused().await;
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("replicas"), "{printed}");
    shop.until_printed("replicsa").await;
    assert_eq!(shop.get("/users/1").await.status, StatusCode::OK);
    assert_eq!(shop.pids("users").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_a_taken_port_hinders_is_in_force_once_the_port_is_free() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let port = madang_testkit::free_port();
    let holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    shop.edit("catalog/service.toml", "name = \"catalog\"", &format!("name = \"catalog\"\nlisten = {port}"));
    shop.until_printed("is taken by").await;
    assert_eq!(shop.get("/products?limit=1").await.status, StatusCode::OK);
    drop(holder);
    shop.until_printed("the manifest is in force").await;
    let mut client = madang_testkit::Client::new(([127, 0, 0, 1], port).into());
    assert_eq!(client.get("/products?limit=1").await.unwrap().status, StatusCode::OK);
}
