use axum::{Router, routing::get};
use expect_test::expect;
use madang_wire::admin::{Event, EventKind};

use crate::fake::{Fake, event, ndjson};

fn some() -> Vec<Event> {
    vec![
        Event { release: Some("r2".into()), ..event("orders", EventKind::Released, "in the place of r1") },
        Event {
            instance: Some("orders-a".into()),
            release: Some("r2".into()),
            ..event("orders", EventKind::Exited, "exit code 1\nno database\n")
        },
        event("payments", EventKind::BreakerOpened, "all calls: of 5 answers 5 failed, 0 were slow"),
        event("orders", EventKind::GaveUp, "gave up after 5 starts"),
    ]
}

#[tokio::test]
async fn shows_what_happened_to_whom_and_when() {
    let fake = Fake::up(Router::new().route("/v1/events", get(|| async { ndjson(&some()) })));
    fake.check(
        "events -n 4 orders payments",
        expect![[r#"
            exit 0
            1970-01-01 00:00:01.000  orders  released: in the place of r1  release r2
            1970-01-01 00:00:01.000  orders-a  exited: exit code 1  release r2
                no database
            1970-01-01 00:00:01.000  payments  breaker opened: all calls: of 5 answers 5 failed, 0 were slow
            1970-01-01 00:00:01.000  orders  gave up after 5 starts
        "#]],
    )
    .await;
    assert_eq!(fake.asked()[0], "GET /v1/events?follow=false&unit=orders&unit=payments&n=4");
    assert_eq!(fake.run("events --format json").await.stdout, ndjson(&some()));
    fake.run("events --since 1970-01-01T00:00:02Z -f").await;
    assert_eq!(fake.asked().last().unwrap(), "GET /v1/events?follow=true&since=2000");
}
