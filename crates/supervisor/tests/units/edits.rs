//! An edit of the manifest applies the difference, and nothing else.

use madang_model::{Limits, PortRule};
use madang_wire::admin::{EventKind, State};

use crate::harness::*;

#[tokio::test]
async fn only_the_edited_unit_is_replaced_and_the_new_one_is_ready_first() {
    let mut orders = server("orders");
    orders.depends_on = ["users".parse().unwrap()].into();
    let mut running = run([server("users"), orders]).await;
    running.ready().await;
    let (users, orders) = (running.row("users"), running.row("orders"));
    running.edit(|units| drop(units.get_mut("users").unwrap().env.insert("LEVEL".into(), "debug".into())));
    running.event("users", EventKind::Stopped).await;
    let after = running.row("users");
    assert_ne!(after.release, users.release);
    let ready = running.rotation.when(&format!("ready {}", after.name)).unwrap();
    let gone = running.rotation.when(&format!("gone {}", users.name)).unwrap();
    assert!(ready < gone);
    assert_eq!(running.row("orders").pid, orders.pid);
    assert_eq!(after.restarts, 0, "an edit is no failure");
    running.stop().await;
}

#[tokio::test]
async fn whom_a_unit_calls_replaces_it_and_nobody_else() {
    let mut running = run(["users", "orders", "payments"].map(|name| unit(name, "sleep 60"))).await;
    running.ready().await;
    let pids = |running: &Running| ["users", "payments"].map(|unit| running.row(unit).pid);
    let others = pids(&running);
    let service = |name: &str| name.parse().unwrap();
    running.system.services.get_mut(&service("orders")).unwrap().calls =
        [(service("users"), Limits::default())].into();
    running.edit(|_| {});
    running.event("orders", EventKind::Stopped).await;
    assert_eq!(pids(&running), others);
    running.stop().await;
}

#[tokio::test]
async fn replicas_only_scale() {
    let mut running = run([server("users")]).await;
    running.ready().await;
    let first = running.row("users");
    running.edit(|units| units.get_mut("users").unwrap().replicas = 3);
    running.event("users", EventKind::Ready).await;
    running.event("users", EventKind::Ready).await;
    running.event("users", EventKind::Ready).await;
    let rows = running.rows("users");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().any(|row| row.pid == first.pid));
    assert!(rows.iter().all(|row| row.release == first.release));

    running.edit(|units| units.get_mut("users").unwrap().replicas = 1);
    running.event("users", EventKind::Stopped).await;
    running.event("users", EventKind::Stopped).await;
    assert_eq!(running.row("users").pid, first.pid, "the one that served longest stays");
    running.stop().await;
}

#[tokio::test]
async fn one_with_a_port_that_it_insists_on_leaves_before_the_next_comes() {
    let mut users = server("users");
    users.port = PortRule::Fixed(madang_testkit::free_port());
    let mut running = run([users]).await;
    running.ready().await;
    let before = running.row("users");
    running.handle.restart("users".parse().unwrap());
    running.event("users", EventKind::Stopped).await;
    running.event("users", EventKind::Ready).await;
    let after = running.row("users");
    let gone = running.rotation.when(&format!("gone {}", before.name)).unwrap();
    assert!(gone < running.rotation.when(&format!("ready {}", after.name)).unwrap());
    assert_eq!(after.url, before.url);
    running.stop().await;
}

#[tokio::test]
async fn units_come_and_go() {
    let mut running = run([unit("users", "sleep 60")]).await;
    running.ready().await;
    running.edit(|units| {
        units.clear();
        units.insert("orders".parse().unwrap(), unit("orders", "sleep 60"));
    });
    running.event("users", EventKind::Stopped).await;
    running.ready().await;
    until("it is forgotten", || running.rows("users").is_empty()).await;
    assert_eq!(running.state("orders"), State::Ready);
    running.stop().await;
}
