//! A unit whose program is not on the machine is left out, and the rest of the system runs.

use madang_wire::admin::{EventKind, State};

use crate::harness::*;

#[tokio::test]
async fn a_unit_without_what_it_requires_is_left_out_until_it_requires_it_no_more() {
    let mut java = server("java");
    java.run = "no-such-program".into();
    java.requires = ["no-such-program".to_owned()].into();
    let mut waits = server("waits");
    waits.depends_on = ["java".parse().unwrap()].into();
    let mut running = run([java, waits, server("users")]).await;
    running.ready().await;
    let left = running.event("java", EventKind::LeftOut).await;
    assert_eq!(left.message, "`no-such-program` is not in PATH");
    let row = running.row("java");
    assert_eq!((row.state, row.health.as_str()), (State::LeftOut, "`no-such-program` is not in PATH"));
    assert_eq!(running.row("waits").health, "it depends on java, which is left out");
    assert_eq!(running.history("java"), [EventKind::LeftOut], "nothing was tried");
    assert!(running.rotation.when("left out java: `no-such-program` is not in PATH").is_some());

    // It is looked for anew when the unit is told to restart.
    running.handle.restart("java".parse().unwrap());
    running.event("java", EventKind::LeftOut).await;

    running.edit(|units| {
        let java = units.get_mut("java").unwrap();
        *java = server("java");
    });
    running.event("waits", EventKind::Ready).await;
    assert!(running.rotation.when("not left out java").is_some());
    assert_eq!(running.state("java"), State::Ready);

    // One that runs is stopped when the machine has not got what it requires by an edit.
    running.edit(|units| units.get_mut("users").unwrap().requires.extend(["no-such-program".to_owned()]));
    running.event("users", EventKind::Stopped).await;
    assert_eq!(running.state("users"), State::LeftOut);
    running.stop().await;
}
