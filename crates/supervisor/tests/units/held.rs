//! A unit that somebody stopped stays so until somebody starts it.

use madang_wire::admin::{EventKind, State};

use crate::harness::*;

#[tokio::test]
async fn a_unit_that_is_held_stays_stopped_over_an_edit_until_it_is_released() {
    let mut waits = server("waits");
    waits.depends_on = ["users".parse().unwrap()].into();
    let mut running = run([server("users"), waits]).await;
    running.ready().await;

    let users = "users".parse().unwrap();
    running.handle.hold("users".parse().unwrap(), "stopped by user 0".to_owned());
    running.event("users", EventKind::Stopped).await;
    until("users is stopped", || running.state("users") == State::Stopped).await;
    let row = running.row("users");
    assert_eq!((row.state, row.health.as_str()), (State::Stopped, "stopped by user 0"));
    assert!(running.rotation.when("left out users: stopped by user 0").is_some(), "callers are told");
    assert_eq!(running.state("waits"), State::Ready, "who depends on it runs on");

    running.edit(|units| units.get_mut("users").unwrap().env.extend([("NEW".to_owned(), "1".to_owned())]));
    running.edit(|units| units.get_mut("waits").unwrap().env.extend([("NEW".to_owned(), "1".to_owned())]));
    running.event("waits", EventKind::Started).await;
    assert_eq!(running.state("users"), State::Stopped, "an edit does not start it");

    assert!(running.handle.release(&users));
    running.event("users", EventKind::Ready).await;
    assert!(running.rotation.when("not left out users").is_some());
    assert_eq!(running.state("users"), State::Ready);
    assert!(!running.handle.release(&users), "it was not held");
    running.stop().await;
}
