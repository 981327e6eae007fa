use axum::Router;
use expect_test::expect;
use madang_wire::{
    SpanId, TraceId,
    admin::EventKind,
    why::{Blame, Certainty, Evidence, Outcome, ReleaseView, Share, Step, Suggestion, WhyView},
};

use crate::fake::{Fake, always, event};

fn step(span: u64, caller: &str, callee: &str, status: u16) -> Step {
    Step {
        span_id: SpanId(span),
        caller: caller.into(),
        callee: Some(callee.into()),
        name: format!("POST {callee}"),
        status,
        code: None,
        attempts: 1,
        duration_us: 12_000,
    }
}

fn failed() -> WhyView {
    let trace_id = TraceId(0x0af7651916cd43dd8448eb211c80319c);
    let release = |release: &str, errors: u64| ReleaseView {
        release: release.into(),
        from: 0,
        until: 60_000,
        requests: 200,
        errors,
        p50_us: 3_000,
        p99_us: 15_000,
    };
    let last = Step { attempts: 3, code: Some("MDG-CALL-004".into()), ..step(2, "orders", "payments", 502) };
    WhyView {
        trace_id,
        request_id: Some("abc".into()),
        name: "POST /orders/**".into(),
        start_us: 1_000_000,
        duration_us: 12_345,
        outcome: Outcome::Failed,
        status: 502,
        code: None,
        blame: Blame::Service { service: "payments".into(), instance: None, release: Some("r2".into()) },
        certainty: Certainty::Certain,
        summary: "payments (release r2): it broke the connection before it answered".into(),
        path: vec![step(1, "gateway", "orders", 502), last],
        evidence: vec![Evidence {
            at_us: 1_010_000,
            span_id: Some(SpanId(2)),
            text: "orders got MDG-CALL-004 (502) from the call to payments".into(),
        }],
        shares: vec![
            Share { service: "payments".into(), self_us: 10_000, parked_us: 400 },
            Share { service: "orders".into(), self_us: 2_345, parked_us: 0 },
        ],
        logs: Vec::new(),
        changes: vec![event("payments", EventKind::Exited, "exit status 1\nits last words")],
        releases: vec![release("r2", 17), release("r1", 0)],
        unseen: vec!["the trace has more spans than are looked at".into()],
        next: vec![Suggestion {
            command: format!("madang trace {trace_id}"),
            why: "every call of the request".into(),
        }],
    }
}

#[tokio::test]
async fn says_who_and_what_says_so() {
    Fake::up(Router::new().route("/v1/why/{id}", always(failed())))
        .check(
            "why abc",
            expect![[r#"
        exit 0
        POST /orders/** at 00:00:01.000: failed, 502 after 12.3 ms
        why: payments (release r2): it broke the connection before it answered
             nothing else explains what was seen

        WAY
        FROM      TO        CALL           ANSWER            DURATION
        gateway   orders    POST orders    502               12.0 ms
          orders  payments  POST payments  502 MDG-CALL-004  12.0 ms   3 attempts

        EVIDENCE
        AT            WHAT
        00:00:01.010  orders got MDG-CALL-004 (502) from the call to payments

        TIME
        SERVICE   ITSELF   SHARE
        payments  10.0 ms  81 %   0.40 ms waiting
        orders    2.34 ms  18 %

        CHANGES
        AT            WHO       WHAT
        00:00:01.000  payments  exited  exit status 1

        RELEASES
        RELEASE  REQUESTS  FAILED  P50      P99
        r2       200       8.5 %   3.00 ms  15.0 ms
        r1       200       0.0 %   3.00 ms  15.0 ms

        NOT SEEN
        the trace has more spans than are looked at

        NEXT
        COMMAND                                        FOR
        madang trace 0af7651916cd43dd8448eb211c80319c  every call of the request
    "#]],
        )
        .await;
}

#[tokio::test]
async fn what_went_well_is_short_and_an_id_may_be_any_text() {
    let well = WhyView {
        outcome: Outcome::Well,
        status: 200,
        blame: Blame::Nobody,
        summary: "nothing failed, and it did not take long".into(),
        path: vec![step(1, "gateway", "orders", 200)],
        evidence: Vec::new(),
        shares: Vec::new(),
        changes: Vec::new(),
        releases: Vec::new(),
        unseen: Vec::new(),
        ..failed()
    };
    let fake = Fake::up(Router::new().route("/v1/why/{id}", always(well)));
    fake.check(
        "why a/b?c",
        expect![[r#"
        exit 0
        POST /orders/** at 00:00:01.000: went well, 200 after 12.3 ms
        why: nothing failed, and it did not take long
             nothing else explains what was seen

        WAY
        FROM     TO      CALL         ANSWER  DURATION
        gateway  orders  POST orders  200     12.0 ms

        NEXT
        COMMAND                                        FOR
        madang trace 0af7651916cd43dd8448eb211c80319c  every call of the request
    "#]],
    )
    .await;
    assert_eq!(fake.asked(), ["GET /v1/why/a%2Fb%3Fc"]);
}
