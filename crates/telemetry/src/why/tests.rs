//! Whom a trace speaks against. A trace is written as its calls, each below the one that it was made for:
//! `caller > callee answer from..to`, in milliseconds, and what else its span has.

use madang_wire::{
    SpanId, TraceId,
    trace::{SpanView, TraceView},
    why::{Blame, Certainty, Outcome},
};
use serde_json::{Map, Value, json};

use super::{
    blame::{self, Finding},
    calls::Calls,
};

/// The trace that a text describes.
fn trace(text: &str) -> TraceView {
    let mut spans: Vec<SpanView> = Vec::new();
    let mut above: Vec<(usize, SpanId)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        above.retain(|(indent, _)| *indent < depth);
        let words: Vec<&str> = line.split_whitespace().collect();
        let (from, to) = words[4].split_once("..").unwrap();
        let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
        let (span_id, parent) = (SpanId(spans.len() as u64 + 1), above.last().map(|(_, id)| *id));
        let mut attributes: Map<String, Value> = Map::from_iter([("madang.hop".into(), "sdk".into())]);
        let mut status: u64 = 0;
        match words[3].split_once('-') {
            Some(("MDG", _)) => {
                attributes.insert("madang.code".into(), words[3].into());
                let known = madang_wire::Code::ALL.iter().find(|code| code.id == words[3]).unwrap();
                status = known.status.into();
            }
            Some(("grpc", code)) => {
                attributes.insert("rpc.grpc.status_code".into(), code.parse::<u64>().unwrap().into());
                status = 200;
            }
            _ => status = words[3].parse().unwrap_or(status),
        }
        if status > 0 {
            attributes.insert("http.response.status_code".into(), status.into());
        }
        let mut handler = None;
        for word in &words[5..] {
            let (name, value) = word.split_once('=').unwrap();
            match name {
                "parked" => {
                    attributes
                        .insert("madang.parked_us".into(), (value.parse::<u64>().unwrap() * 1000).into());
                }
                "fault" => drop(attributes.insert("madang.fault".into(), value.into())),
                "fallback" | "cache" => drop(attributes.insert(format!("madang.{name}"), value.into())),
                "attempts" => {
                    drop(attributes.insert("madang.attempts".into(), value.parse::<u64>().unwrap().into()))
                }
                "head" => {
                    status = value.parse().unwrap();
                    attributes.insert("http.response.status_code".into(), status.into());
                }
                "handler" => handler = Some(value.parse::<u64>().unwrap()),
                _ => panic!("{word}"),
            }
        }
        let grpc_failed = attributes
            .get("rpc.grpc.status_code")
            .and_then(Value::as_u64)
            .is_some_and(|code| madang_wire::grpc_failed(code as u16));
        if attributes.contains_key("madang.fallback") {
            status = 200;
            attributes.insert("http.response.status_code".into(), status.into());
        }
        let code = attributes.get("madang.code").and_then(Value::as_str);
        let cut = madang_wire::is_cut(status as u16, code);
        let failed = status == 0 || status >= 500 || grpc_failed || cut;
        let error = failed || attributes.contains_key("madang.fallback");
        let span = |id: SpanId, parent: Option<SpanId>, kind: &str, took: u64, of: &str| -> SpanView {
            serde_json::from_value(json!({
                "span_id": id, "parent_span_id": parent, "service": of, "peer": null, "name": format!("GET {}", words[2]),
                "kind": kind, "start_us": from * 1000, "duration_us": took * 1000, "error": error, "attributes": {}
            }))
            .unwrap()
        };
        above.push((depth, span_id));
        if let Some(took) = handler {
            let handler = span(SpanId(span_id.0 + 1000), Some(span_id), "server", took, words[2]);
            spans.push(handler);
        }
        let hop = span(span_id, parent, "client", to - from, words[0]);
        let peer = Some(words[2].to_owned()).filter(|callee| callee != "nobody");
        spans.push(SpanView { peer, attributes, ..hop });
    }
    TraceView { trace_id: TraceId(1), spans, cut: false }
}

fn words(finding: &Finding) -> String {
    let who = match &finding.blame {
        Blame::Service { service, .. } => service.clone(),
        Blame::Fault { id, caller, callee } => format!("fault {id} of {caller} to {callee}"),
        Blame::Declaration { caller, callee } => format!("declaration of {caller} to {callee}"),
        Blame::Request => "request".to_owned(),
        Blame::Nobody => "nobody".to_owned(),
        Blame::Unknown { suspects } => format!("unknown: {}", suspects.join(" or ")),
    };
    let sure = match finding.certainty {
        Certainty::Certain => "certain",
        Certainty::Likely => "likely",
        Certainty::None => "no",
    };
    format!("{who} ({sure}) {}", finding.because)
}

fn check_failure(text: &str, expected: &str) {
    let trace = trace(text);
    let calls = Calls::of(&trace);
    assert_eq!(words(&blame::of_failure(&calls, calls.entry.unwrap())), expected, "{text}");
}

fn check_time(text: &str, expected: &str) {
    let trace = trace(text);
    let calls = Calls::of(&trace);
    assert_eq!(words(&blame::of_time(&calls, calls.entry.unwrap())), expected, "{text}");
}

#[test]
fn the_deepest_failure_is_to_blame() {
    check_failure("gateway > users 500 0..10", "users (certain) answered 500 itself");
    check_failure(
        "
        gateway > orders 502 0..100
          orders > users 200 5..10
          orders > payments 500 10..90
        ",
        "payments (certain) answered 500 itself",
    );
    check_failure(
        "
        gateway > orders 500 0..100
          orders > users 200 5..10
          orders > payments 200 10..90
        ",
        "orders (certain) answered 500, while no call of its own failed",
    );
    check_failure(
        "
        gateway > orders 503 0..100
          orders > payments grpc-13 10..90
        ",
        "payments (certain) answered grpc-status 13 itself",
    );
    check_failure(
        "
        gateway > shop 502 0..100
          shop > orders 502 1..99
            orders > payments MDG-CALL-001 10..90
        ",
        "payments (certain) had no instance that was ready",
    );
}

#[test]
fn what_madang_answered_says_whom_it_speaks_of() {
    check_failure("gateway > users MDG-CALL-002 0..10", "users (certain) took no connection");
    check_failure(
        "gateway > users MDG-CALL-004 0..10",
        "users (certain) broke the connection before it answered",
    );
    check_failure("gateway > users MDG-CALL-010 0..10", "users (certain) is left out on this machine");
    check_failure("gateway > users MDG-GW-003 0..10", "request (certain) nobody could answer it");
    check_failure(
        "
        gateway > orders 500 0..10
          orders > mail MDG-CALL-006 1..2
        ",
        "declaration of orders to mail (likely) is not declared in the manifest",
    );
    check_failure(
        "
        gateway > orders 503 0..10
          orders > payments MDG-FLT-001 1..2 fault=f1
        ",
        "fault f1 of orders to payments (certain) was made on purpose",
    );
    check_failure(
        "
        gateway > orders 503 0..10
          orders > payments MDG-CALL-008 1..2
        ",
        "payments (likely) was not asked, because too many calls to it had failed or were slow before",
    );
}

#[test]
fn a_delay_that_was_made_is_not_blamed_for_an_answer_that_was_bad_anyway() {
    check_failure("gateway > users 500 0..10 fault=f1", "users (certain) answered 500 itself");
    check_time(
        "gateway > users 200 0..2000 fault=f1",
        "fault f1 of gateway to users (certain) was made on purpose",
    );
}

#[test]
fn who_waited_is_not_to_blame_for_whom_it_waited_for() {
    check_failure(
        "
        gateway > orders MDG-CALL-003 0..3000
          orders > users 200 5..15
          orders > payments 0 20..3000
        ",
        "payments (likely) had not answered when its caller left",
    );
    check_failure(
        "
        gateway > orders 504 0..3000
          orders > payments MDG-CALL-003 20..2990
        ",
        "payments (certain) did not answer in time",
    );
    check_failure(
        "
        gateway > orders MDG-CALL-003 0..3000
          orders > users 200 5..15
          orders > payments 200 20..40
        ",
        "orders (certain) did not answer in time",
    );
    check_time(
        "
        gateway > orders 200 0..3000
          orders > catalog 200 5..2500
            catalog > users 200 10..20
        ",
        "catalog (certain) took most of the time itself",
    );
    let many: String =
        (0..20).map(|n| format!("  orders > users 200 {}..{}\n", n * 100, n * 100 + 90)).collect();
    check_time(
        &format!("gateway > orders 200 0..2000\n{many}"),
        "orders (likely) made 20 calls to users one after the other",
    );
    check_time(
        "gateway > users 200 0..2000 parked=1900",
        "users (likely) had no instance that was ready, or no place for one more call",
    );
}

#[test]
fn what_failed_on_the_way_is_told_of_a_request_that_went_well() {
    let check = |text: &str, expected: &str| {
        let trace = trace(text);
        let calls = Calls::of(&trace);
        let finding = blame::of_success(&calls, calls.entry.unwrap());
        assert_eq!(words(&finding), expected, "{text}");
        finding
    };
    let found = check(
        "
        gateway > orders 202 0..100
          orders > users 200 5..10
          orders > payments 500 10..20
        ",
        "payments (certain) answered 500 itself",
    );
    assert_eq!(found.path, [0, 2]);
    check("gateway > users 200 0..10", "nobody (certain) nothing failed, and it did not take long");
    let healed = check(
        "
        gateway > orders 200 0..100
          orders > users 503 5..10
          orders > users 200 10..20
        ",
        "nobody (certain) nothing failed, and it did not take long",
    );
    assert_eq!(healed.evidence[0].text, "users answered 503 once, and well when it was asked again");
}

#[test]
fn what_failed_explains_slowness_that_the_times_do_not() {
    let check = |text: &str, expected: &str| {
        let trace = trace(text);
        let calls = Calls::of(&trace);
        let finding = super::judge(&calls, calls.entry.unwrap(), Outcome::Slow);
        assert_eq!(words(&finding), expected, "{text}");
    };
    check(
        "
        gateway > orders 202 0..36
          orders > catalog 200 1..5
          orders > payments MDG-FLT-001 6..23 fault=f1
        ",
        "fault f1 of orders to payments (likely) was made on purpose",
    );
    check(
        "
        gateway > orders 200 0..36
          orders > catalog 200 1..17
          orders > payments 200 18..34
        ",
        "orders (likely) took the time in calls to several others",
    );
    check(
        "
        gateway > orders 200 0..3000
          orders > payments 500 5..10
          orders > catalog 200 10..2500
        ",
        "catalog (certain) took most of the time itself",
    );
}

#[test]
fn no_service_is_to_blame_for_what_the_gateway_refuses() {
    let itself = |who: &str, words: &str| format!("{who} the gateway refused it: {words}");
    for (code, who, title) in [
        ("MDG-GW-001", "request (certain)", "no route matches this request"),
        ("MDG-GW-020", "request (certain)", "too many requests"),
        ("MDG-GW-021", "request (certain)", "the body of the request is too large"),
        ("MDG-GW-022", "request (certain)", "pages of this origin may not ask"),
        ("MDG-GW-040", "request (certain)", "nothing is kept that answers the request"),
        ("MDG-AUTH-001", "request (certain)", "the request does not say for whom it is made"),
        ("MDG-AUTH-003", "request (certain)", "the principal may not do this"),
        ("MDG-AUTH-007", "request (likely)", "the log-in did not succeed"),
        ("MDG-AUTH-005", "unknown:  (no)", "the issuer's keys cannot be had"),
        ("MDG-GW-024", "unknown:  (no)", "a shared limit cannot be counted"),
    ] {
        let text = format!("gateway > nobody {code} 0..1");
        check_failure(&text, &itself(who, &format!("{code}, {title}")));
        let trace = trace(&text);
        let calls = Calls::of(&trace);
        assert_eq!(blame::of_refusal(&calls, 0).blame, blame::of_failure(&calls, 0).blame, "{text}");
    }
    // A body without a length is too long when its service was asked already.
    let long = "MDG-GW-021, the body of the request is too large";
    check_failure("gateway > users MDG-GW-021 0..1", &itself("request (certain)", long));
    check_failure("orders > users MDG-GW-021 0..1", "users (certain) answered MDG-GW-021 (413) itself");
}

#[test]
fn who_breaks_off_in_the_middle_of_an_answer_is_to_blame_and_not_who_hands_it_on() {
    let alone = "gateway > users MDG-CALL-004 0..10 head=200";
    check_failure(alone, "users (certain) broke off in the middle of its answer");
    check_failure(
        "gateway > users MDG-CALL-004 0..10",
        "users (certain) broke the connection before it answered",
    );
    let handed_on = "
        gateway > orders MDG-CALL-004 0..10 head=200
          orders > users MDG-CALL-004 1..9 head=200
        ";
    check_failure(handed_on, "users (likely) broke off in the middle of its answer");
    check_failure("gateway > users MDG-CALL-003 0..10 head=200", "users (certain) did not answer in time");
}

#[test]
fn a_fallback_is_not_taken_for_what_the_service_answered() {
    let told = |text: &str| {
        let trace = trace(text);
        let calls = Calls::of(&trace);
        let finding = blame::of_failure(&calls, calls.entry.unwrap());
        let evidence: Vec<String> = finding.evidence.iter().map(|evidence| evidence.text.clone()).collect();
        (words(&finding), evidence)
    };
    let (said, evidence) = told("gateway > users 500 0..10 fallback=static");
    assert_eq!(said, "users (certain) answered with a failure itself");
    assert_eq!(
        evidence,
        ["users answered gateway with a failure", "its fallback (static) was answered in place of that: 200"]
    );
    let (said, evidence) = told("gateway > users MDG-CALL-002 0..10 fallback=last-good");
    assert_eq!(said, "users (certain) took no connection");
    assert_eq!(
        evidence,
        [
            "gateway got MDG-CALL-002 from the call to users",
            "its fallback (last-good) was answered in place of that: 200"
        ]
    );
    let (said, evidence) = told("gateway > users MDG-CALL-003 0..10 fallback=static");
    assert_eq!(said, "users (certain) did not answer in time");
    assert_eq!(evidence[1], "its fallback (static) was answered in place of that: 200");
}

#[test]
fn of_a_request_that_went_well_it_is_told_what_was_not_as_always() {
    let told = |text: &str| {
        let trace = trace(text);
        let calls = Calls::of(&trace);
        let finding = blame::of_success(&calls, calls.entry.unwrap());
        let evidence: Vec<String> = finding.evidence.iter().map(|evidence| evidence.text.clone()).collect();
        (words(&finding), evidence.join("; "))
    };
    let nobody = |because: &str| format!("nobody (certain) {because}, and it did not take long");
    let again = |words: &str| (nobody("nothing failed in the end"), words.to_owned());
    let first = |words: &str| (nobody("nothing failed"), words.to_owned());
    assert_eq!(
        told("gateway > users 200 0..10 attempts=3"),
        again("gateway made 3 attempts to be answered by users")
    );
    assert_eq!(
        told(
            "
            gateway > orders 200 0..10 attempts=1
              orders > users 200 1..9 attempts=2
            "
        ),
        again("orders made 2 attempts to be answered by users")
    );
    let kept = "gateway gave an answer that it had kept, and waited for nobody";
    assert_eq!(told("gateway > users 200 0..1 cache=hit"), first(kept));
    let old = "gateway gave an old answer that it had kept, and waited for nobody";
    assert_eq!(told("gateway > users 200 0..1 cache=stale"), first(old));
    assert_eq!(told("gateway > users 200 0..1 cache=miss attempts=1"), first(""));
}

#[test]
fn what_was_made_good_is_not_why() {
    check_failure(
        "
        gateway > orders 500 0..100
          orders > users 503 5..10
          orders > users 200 10..20
        ",
        "orders (certain) answered 500, while no call of its own failed",
    );
}

#[test]
fn a_wrong_blame_is_worse_than_none() {
    // A 500 may have a reason of its own beside the call that failed.
    check_failure(
        "
        gateway > orders 500 0..100
          orders > users 503 5..10
          orders > catalog 200 10..20
        ",
        "users (likely) answered 503 itself",
    );
    check_failure(
        "
        gateway > orders 502 0..100
          orders > users 500 5..10
          orders > catalog 500 5..20
        ",
        "unknown: users or catalog (no) more than one of its calls failed, for reasons of their own",
    );
    check_failure(
        "
        gateway > orders 500 0..100
          orders > users 422 5..10
        ",
        "orders (likely) answered 500, while no call of its own failed",
    );
    check_time(
        "orders > users 200 0..2000 handler=3",
        "unknown: orders or users (no) the time went between orders and users",
    );
    check_time(
        "
        gateway > orders 200 0..2100 handler=2095
          orders > catalog 200 5..10 handler=4
          orders > users 200 10..2010 handler=3
        ",
        "users (likely) let the request wait before it began with it",
    );
    check_time("gateway > users 200 0..2000 handler=1990", "users (certain) took most of the time itself");
}

#[test]
fn calls_whose_cause_was_not_kept_belong_to_the_only_call_around_them() {
    let mut lost = trace(
        "
        gateway > orders 502 0..100
          orders > users 500 5..10
        ",
    );
    lost.spans[1].parent_span_id = Some(SpanId(99));
    let calls = Calls::of(&lost);
    assert_eq!(calls.orphans, 0);
    assert_eq!(
        words(&blame::of_failure(&calls, calls.entry.unwrap())),
        "users (certain) answered 500 itself"
    );

    let mut twice = trace(
        "
        gateway > orders 200 0..100
          orders > orders 502 1..99
            orders > users 500 5..10
        ",
    );
    twice.spans[2].parent_span_id = Some(SpanId(99));
    assert_eq!(Calls::of(&twice).orphans, 1, "either of them may have made it");
}

#[test]
fn a_refusal_is_told_by_who_refused() {
    let trace = trace(
        "
        gateway > orders 409 0..100
          orders > users 200 5..10
          orders > catalog 409 5..10
        ",
    );
    let calls = Calls::of(&trace);
    let finding = blame::of_refusal(&calls, calls.entry.unwrap());
    assert_eq!(words(&finding), "request (likely) catalog refused it with 409");
    assert_eq!(finding.path, [0, 2]);
}

#[test]
fn time_is_shared_among_services_without_counting_any_twice() {
    let trace = trace(
        "
        gateway > orders 200 0..100
          orders > users 200 10..40
          orders > catalog 200 20..60
            catalog > users 200 30..50
        ",
    );
    let calls = Calls::of(&trace);
    let shares: Vec<_> =
        blame::shares(&calls, 0).into_iter().map(|share| (share.service, share.self_us / 1000)).collect();
    // Parallel calls: orders waited 50 ms for any of them.
    assert_eq!(shares, [("orders".to_owned(), 50), ("users".to_owned(), 50), ("catalog".to_owned(), 20)]);
}
