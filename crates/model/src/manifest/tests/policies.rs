//! What holds for a call, and which line says so.

use std::{fmt::Write, time::Duration};

use expect_test::{Expect, expect};

use super::{Memory, loaded, rendered};
use crate::{
    ExplainedLimit, Policy, System,
    policy::{Breaker, Concurrency, Fallback, FaultEffect, Hedge, HedgeAfter, Holder, Limit, Priority},
};

const SYSTEM: &str = r#"
[system]
include = ["*/service.toml"]

[policy]
timeout = "10s"
retries = 1
breaker = { failures = 3, window = "30s" }
ejection = { slow = "500ms", slow_rate = 50 }
per_caller = { limit = 20, queue = 5 }

[gateway]
timeout = "8s"

[services.orders]
run = "orders"
routes = ["/orders/**"]

[services.orders.calls.payments]
timeout = "3s"
breaker = { failures = 2 }
concurrency = 4
hedge = "p95"
priority = "critical"
fallback = { json = '{"state":"unknown"}', status = 202 }
faults = [{ on = "POST /charges", delay = "2s", percent = 10 }]

[services.mail]
run = "mail"
policy = { breaker = false, per_caller = false }
calls = ["payments"]
"#;

const PAYMENTS: &str = r#"
name = "payments"
run = "payments"
timeout = "5s"
policy = { concurrency = "adaptive", attempt_timeout = "4s" }

[[routes]]
path = "/payments/{id}"
policy = { attempt_timeout = "2s", concurrency = { queue = 0 } }

[[routes]]
path = "/webhooks"
timeout = "1s"
"#;

fn system() -> System {
    let files = Memory::new([("madang.toml", SYSTEM), ("payments/service.toml", PAYMENTS)]);
    match files.load() {
        Ok(loaded) => loaded.system,
        Err(errors) => panic!("{}", rendered(&errors)),
    }
}

fn call(caller: &str, callee: &str) -> Policy {
    system().policy_of_call(&caller.parse().unwrap(), &callee.parse().unwrap())
}

fn route(path: &str, service: &str) -> Policy {
    let system = system();
    let route = system.routes.iter().find(|route| route.path == path);
    system.policy_of_route(route, &service.parse().unwrap())
}

#[test]
fn a_narrower_scope_replaces_what_a_wider_one_says() {
    let seconds = Duration::from_secs;
    let policy = call("orders", "payments");
    assert_eq!(
        (policy.timeout, policy.attempt_timeout),
        (seconds(3), seconds(3)),
        "the service's 4s do not fit"
    );
    assert_eq!((policy.attempts, policy.priority), (2, Priority::Critical));
    assert_eq!(policy.hedge, Some(Hedge { after: HedgeAfter::Percentile(95) }));
    let breaker = Breaker { failures: 2, window: seconds(30), holder: Holder::Caller, ..Breaker::default() };
    assert_eq!(policy.breaker, Some(breaker), "laid over that of the system key by key");
    let ejection = policy.ejection.unwrap();
    assert_eq!((ejection.slow, ejection.slow_rate, ejection.failures), (Duration::from_millis(500), 50, 5));
    assert_eq!(policy.concurrency, Some(Concurrency::default()), "what payments takes of all callers");
    let share = Concurrency { limit: Limit::Fixed(4), queue: 5, ..Concurrency::default() };
    assert_eq!(policy.share, Some(share), "its own, over the one that each caller gets");
    let (content_type, body) = ("application/json".into(), r#"{"state":"unknown"}"#.into());
    assert_eq!(policy.fallback, Some(Fallback::Static { status: 202, content_type, body }));
    let [fault] = policy.faults.as_slice() else { panic!("{:?}", policy.faults) };
    assert_eq!(
        (fault.method.as_deref(), fault.path.as_deref(), fault.percent),
        (Some("POST"), Some("/charges"), 10)
    );
    assert_eq!(fault.effect, FaultEffect::Delay(seconds(2)));

    let policy = call("mail", "payments");
    assert_eq!((policy.timeout, policy.attempt_timeout), (seconds(5), seconds(4)));
    assert_eq!(policy.breaker.unwrap().holder, Holder::Service);
    assert_eq!(policy.share.unwrap().limit, Limit::Fixed(20));
    let policy = call("orders", "mail");
    assert_eq!((policy.timeout, policy.breaker, policy.share), (seconds(10), None, None));
}

#[test]
fn the_gateways_timeout_lies_between_the_systems_and_the_services() {
    let seconds = Duration::from_secs;
    assert_eq!(route("/orders/**", "orders").timeout, seconds(8));
    let payments = route("/payments/{id}", "payments");
    assert_eq!((payments.timeout, payments.attempt_timeout), (seconds(5), seconds(2)));
    assert_eq!(payments.share.unwrap().queue, 0);
    assert_eq!(route("/webhooks", "payments").attempt_timeout, seconds(1));
    assert_eq!(route("none", "payments").timeout, seconds(5), "over no route, as at its own listener");
    assert_eq!(call("orders", "orders").timeout, seconds(10), "which is no request from outside");
}

#[test]
fn a_manifest_that_says_nothing_has_the_built_in_policy() {
    let system = loaded("[services.a]\nrun = \"a\"\ncalls = [\"b\"]\n[services.b]\nrun = \"b\"\n").system;
    let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
    assert_eq!(system.policy_of_call(&a, &b), Policy::default());
    assert_eq!(system.policy_of_route(None, &a), Policy::default());
    assert!(system.explain_call(&a, &b).iter().all(|line| line.scope.is_none() && line.place.is_none()));
}

fn check(explained: &[ExplainedLimit], expected: Expect) {
    let mut text = String::new();
    for ExplainedLimit { setting, value, scope, place } in explained {
        let scope = scope.map_or("built in".to_owned(), |scope| scope.to_string());
        let place = place.as_ref().map_or(String::new(), |place| format!(" {place}"));
        writeln!(text, "{setting} = {value}  # {scope}{place}").unwrap();
    }
    expected.assert_eq(&text);
}

#[test]
fn each_setting_names_the_line_that_says_so() {
    let system = system();
    let [orders, mail, payments] = ["orders", "mail", "payments"].map(|name| name.parse().unwrap());
    check(
        &system.explain_call(&orders, &payments),
        expect![[r#"
        timeout = "3s"  # call madang.toml:20
        attempt_timeout = "3s"  # call madang.toml:20
        connect_timeout = "5s"  # built in
        idle_timeout = "5m"  # built in
        retries = 1  # default madang.toml:7
        backoff.base = "25ms"  # built in
        backoff.cap = "250ms"  # built in
        retry_budget.percent = 20  # built in
        retry_budget.floor = 10  # built in
        parked = 1024  # built in
        hedge = "p95"  # call madang.toml:23
        ejection = true  # default madang.toml:9
        ejection.failures = 5  # built in
        ejection.success_rate = 80  # built in
        ejection.slow = "500ms"  # default madang.toml:9
        ejection.slow_rate = 50  # default madang.toml:9
        ejection.window = "10s"  # built in
        ejection.minimum = 5  # built in
        ejection.base = "1s"  # built in
        ejection.cap = "1m"  # built in
        ejection.at_most = 50  # built in
        ejection.panic = 50  # built in
        breaker = true  # call madang.toml:21
        breaker.failures = 2  # call madang.toml:21
        breaker.failure_rate = 50  # built in
        breaker.slow = "1s"  # built in
        breaker.slow_rate = 100  # built in
        breaker.window = "30s"  # default madang.toml:8
        breaker.minimum = 10  # built in
        breaker.open = "1s"  # built in
        breaker.cap = "1m"  # built in
        breaker.probes = 1  # built in
        concurrency = true  # service payments/service.toml:5
        concurrency.limit = "adaptive"  # service payments/service.toml:5
        concurrency.least = 4  # built in
        concurrency.most = 1024  # built in
        concurrency.queue = 64  # built in
        concurrency.wait = "1s"  # built in
        per_caller = true  # call madang.toml:22
        per_caller.limit = 4  # call madang.toml:22
        per_caller.queue = 5  # default madang.toml:10
        per_caller.wait = "1s"  # built in
        priority = "critical"  # call madang.toml:24
        fallback = {"body":"{\"state\":\"unknown\"}","content_type":"application/json","status":202}  # call madang.toml:25
        faults = [{"delay":"2s","on":"POST /charges","percent":10}]  # call madang.toml:26
    "#]],
    );
    check(
        &system.explain_call(&payments, &mail),
        expect![[r#"
        timeout = "10s"  # default madang.toml:6
        attempt_timeout = "10s"  # default madang.toml:6
        connect_timeout = "5s"  # built in
        idle_timeout = "5m"  # built in
        retries = 1  # default madang.toml:7
        backoff.base = "25ms"  # built in
        backoff.cap = "250ms"  # built in
        retry_budget.percent = 20  # built in
        retry_budget.floor = 10  # built in
        parked = 1024  # built in
        hedge = false  # built in
        ejection = true  # default madang.toml:9
        ejection.failures = 5  # built in
        ejection.success_rate = 80  # built in
        ejection.slow = "500ms"  # default madang.toml:9
        ejection.slow_rate = 50  # default madang.toml:9
        ejection.window = "10s"  # built in
        ejection.minimum = 5  # built in
        ejection.base = "1s"  # built in
        ejection.cap = "1m"  # built in
        ejection.at_most = 50  # built in
        ejection.panic = 50  # built in
        breaker = false  # service madang.toml:30
        concurrency = false  # built in
        per_caller = false  # service madang.toml:30
        priority = "normal"  # built in
        fallback = false  # built in
        faults = []  # built in
    "#]],
    );
    check(
        &system.explain_route(system.routes.last(), &payments),
        expect![[r#"
            timeout = "1s"  # route payments/service.toml:13
            attempt_timeout = "1s"  # route payments/service.toml:13
            connect_timeout = "5s"  # built in
            idle_timeout = "5m"  # built in
            retries = 1  # default madang.toml:7
            backoff.base = "25ms"  # built in
            backoff.cap = "250ms"  # built in
            retry_budget.percent = 20  # built in
            retry_budget.floor = 10  # built in
            parked = 1024  # built in
            hedge = false  # built in
            ejection = true  # default madang.toml:9
            ejection.failures = 5  # built in
            ejection.success_rate = 80  # built in
            ejection.slow = "500ms"  # default madang.toml:9
            ejection.slow_rate = 50  # default madang.toml:9
            ejection.window = "10s"  # built in
            ejection.minimum = 5  # built in
            ejection.base = "1s"  # built in
            ejection.cap = "1m"  # built in
            ejection.at_most = 50  # built in
            ejection.panic = 50  # built in
            breaker = true  # default madang.toml:8
            breaker.failures = 3  # default madang.toml:8
            breaker.failure_rate = 50  # built in
            breaker.slow = "1s"  # built in
            breaker.slow_rate = 100  # built in
            breaker.window = "30s"  # default madang.toml:8
            breaker.minimum = 10  # built in
            breaker.open = "1s"  # built in
            breaker.cap = "1m"  # built in
            breaker.probes = 1  # built in
            concurrency = true  # service payments/service.toml:5
            concurrency.limit = "adaptive"  # service payments/service.toml:5
            concurrency.least = 4  # built in
            concurrency.most = 1024  # built in
            concurrency.queue = 64  # built in
            concurrency.wait = "1s"  # built in
            per_caller = true  # default madang.toml:10
            per_caller.limit = 20  # default madang.toml:10
            per_caller.queue = 5  # default madang.toml:10
            per_caller.wait = "1s"  # built in
            priority = "normal"  # built in
            fallback = false  # built in
            faults = []  # built in
            edge.rate_limit = false  # built in
            edge.max_body = false  # built in
            edge.cors = false  # built in
            edge.path = false  # built in
            edge.request_headers = false  # built in
            edge.answer_headers = false  # built in
            edge.mirror = false  # built in
            edge.compress = false  # built in
            edge.problems = false  # built in
            edge.cache = false  # built in
        "#]],
    );
}
