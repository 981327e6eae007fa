use expect_test::expect;

use crate::fake::{Fake, Ran};

const MANIFEST: &str = r#"[policy]
retries = 1

[gateway]
timeout = "8s"

[services.payments]
run = "payments"
routes = [{ path = "/pay/**", policy = { hedge = "p95" } }]

[services.orders]
run = "orders"
calls = { payments = { timeout = "3s", breaker = { failures = 3 }, fallback = { json = "[]" } } }
"#;

fn system() -> Fake {
    let fake = Fake::down();
    fake.write("madang.toml", MANIFEST);
    fake.write("madang.production.toml", "[services.orders.calls.payments]\ntimeout = \"2s\"\n");
    fake
}

#[tokio::test]
async fn each_limit_of_a_call_names_its_line() {
    system().check("policy explain orders payments", expect![[r#"
        exit 0
        SETTING                VALUE                                                             SCOPE     PLACE
        timeout                "3s"                                                              call      madang.toml:13
        attempt_timeout        "3s"                                                              call      madang.toml:13
        connect_timeout        "5s"                                                              built in  -
        idle_timeout           "5m"                                                              built in  -
        retries                1                                                                 default   madang.toml:2
        backoff.base           "25ms"                                                            built in  -
        backoff.cap            "250ms"                                                           built in  -
        retry_budget.percent   20                                                                built in  -
        retry_budget.floor     10                                                                built in  -
        parked                 1024                                                              built in  -
        hedge                  false                                                             built in  -
        ejection               true                                                              built in  -
        ejection.failures      5                                                                 built in  -
        ejection.success_rate  80                                                                built in  -
        ejection.slow          "1s"                                                              built in  -
        ejection.slow_rate     100                                                               built in  -
        ejection.window        "10s"                                                             built in  -
        ejection.minimum       5                                                                 built in  -
        ejection.base          "1s"                                                              built in  -
        ejection.cap           "1m"                                                              built in  -
        ejection.at_most       50                                                                built in  -
        ejection.panic         50                                                                built in  -
        breaker                true                                                              call      madang.toml:13
        breaker.failures       3                                                                 call      madang.toml:13
        breaker.failure_rate   50                                                                built in  -
        breaker.slow           "1s"                                                              built in  -
        breaker.slow_rate      100                                                               built in  -
        breaker.window         "10s"                                                             built in  -
        breaker.minimum        10                                                                built in  -
        breaker.open           "1s"                                                              built in  -
        breaker.cap            "1m"                                                              built in  -
        breaker.probes         1                                                                 built in  -
        concurrency            false                                                             built in  -
        per_caller             false                                                             built in  -
        priority               "normal"                                                          built in  -
        fallback               { body = "[]", content_type = "application/json", status = 200 }  call      madang.toml:13
        faults                 []                                                                built in  -
    "#]]).await;
}

#[tokio::test]
async fn those_of_the_gateway_come_over_a_route_or_none() {
    let lines = |text: &str| -> Vec<String> {
        let chosen = text.lines().filter(|line| line.starts_with("timeout") || line.starts_with("hedge"));
        chosen.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let ran = system().run("policy explain gateway payments --route /pay/**").await;
    assert_eq!(
        lines(&ran.stdout),
        ["timeout \"8s\" gateway madang.toml:5", "hedge \"p95\" route madang.toml:9"],
        "{ran}"
    );
    let ran = system().run("policy explain gateway payments").await;
    assert_eq!(lines(&ran.stdout), ["timeout \"8s\" gateway madang.toml:5", "hedge false built in -"]);
}

#[tokio::test]
async fn a_script_gets_values() {
    let ran = system().run("policy explain orders payments --env production --format json").await;
    let limits: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let timeout = serde_json::json!({
        "setting": "timeout", "value": "2s", "scope": "call", "place": "madang.production.toml:2"
    });
    assert_eq!(limits[0], timeout);
    assert_eq!(limits[2]["scope"], serde_json::Value::Null, "it is built in");
}

#[tokio::test]
async fn what_cannot_be_explained_says_why() {
    for (asked, why) in [
        ("orders payment", "did you mean \"payments\"?"),
        ("order payments", "did you mean \"orders\"?"),
        ("payments orders", "payments declares no calls to orders"),
        ("gateway payments --route /pay", "no route /pay leads to payments; those that do: /pay/**"),
        ("orders payments --route /pay/**", "only requests of the gateway come over a route"),
    ] {
        let ran = system().run(&format!("policy explain {asked}")).await;
        assert!(ran.code == 1 && ran.stderr.contains(why), "{ran}");
    }
}

#[tokio::test]
async fn an_unknown_environment_is_refused() {
    let ran = system().run("check --env prodution").await;
    assert!(ran.code == 3 && ran.stderr.contains("did you mean \"production\"?"), "{ran}");
}

/// Runs the binary with a value of MADANG_ENV.
async fn in_environment<'a>(name: &str, args: impl IntoIterator<Item = &'a str>) -> Ran {
    let fake = system();
    let mut command = fake.command(args);
    command.env("MADANG_ENV", name);
    fake.ran(command).await
}

#[tokio::test]
async fn the_environment_may_be_named_by_a_variable_and_an_option_wins() {
    for (variable, option, timeout) in [
        ("production", None, "2s"),
        ("production", Some("--env="), "3s"),
        ("", None, "3s"),
        ("nowhere", Some("--env=production"), "2s"),
    ] {
        let explain = "policy explain orders payments --format json".split_whitespace();
        let ran = in_environment(variable, explain.chain(option)).await;
        let limits: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran}"));
        assert_eq!(limits[0]["value"], timeout, "{variable:?} {option:?}");
    }
    let ran = in_environment("prodution", ["check"]).await;
    assert!(ran.code == 3 && ran.stderr.contains("did you mean \"production\"?"), "{ran}");
}
