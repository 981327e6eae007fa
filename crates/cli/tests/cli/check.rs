use expect_test::expect;

use crate::fake::Fake;

const GOOD: &str = r#"[system]
name = "shop"

[services.users]
run = "node users.js"
routes = ["/users/**"]
"#;

fn with(manifest: &str) -> Fake {
    let fake = Fake::down();
    fake.write("madang.toml", manifest);
    fake
}

#[tokio::test]
async fn a_good_manifest_is_summed_up() {
    with(GOOD)
        .check(
            "check",
            expect![[r#"
        exit 0
        shop is well: 1 service in 1 unit, 1 route, from 1 file
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_bad_one_is_refused_with_the_line() {
    with(&GOOD.replace("routes", "route"))
        .check(
            "check",
            expect![[r#"
                exit 3
                --- stderr
                MDG-MF-004

                  × `route` is not a key of a service
                   ╭─[madang.toml:6:1]
                 5 │ run = "node users.js"
                 6 │ route = ["/users/**"]
                   · ──┬──
                   ·   ╰── unknown key
                   ╰────
                  help: did you mean `routes`? The keys of a service are `owner`, `domain`, `url`, `listen`,
                        `protocol`, `timeout`, `policy`, `edge`, `calls`, `database`, `require`, `routes`, `run`,
                        `build`, `health`, `port`, `replicas`, `env`, `depends_on`, `requires`

                the manifest has a problem
            "#]],
        )
        .await;
}

#[tokio::test]
async fn a_script_gets_the_problems_as_json() {
    let ran = with(&GOOD.replace("routes", "route")).run("check --format json").await;
    assert_eq!(ran.code, 3);
    let problems: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(problems[0]["code"], "MDG-MF-004");
    assert_eq!((&problems[0]["file"], &problems[0]["line"]), (&"madang.toml".into(), &6.into()));
}

#[tokio::test]
async fn who_would_be_left_out_is_named() {
    with(&GOOD.replace("routes", "requires = [\"no-such-program\"]\nroutes"))
        .check(
            "check",
            expect![[r#"
            exit 0
            shop is well: 1 service in 1 unit, 1 route, from 1 file
            users would be left out on this machine: `no-such-program` is not in PATH
        "#]],
        )
        .await;
}

#[tokio::test]
async fn a_folder_without_one_says_so() {
    let ran = Fake::down().run("check").await;
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("there is no madang.toml in ."), "{ran}");
}

#[tokio::test]
async fn each_value_is_explained() {
    with(GOOD)
        .check(
            "check --explain",
            expect![[r#"
                exit 0
                system.name = "shop"                   # madang.toml:2
                gateway.listen = "127.0.0.1:3000"      # default
                admin.listen = "127.0.0.1:3900"        # default
                telemetry.keep = "7d"                  # default
                telemetry.size = "512MiB"              # default
                telemetry.spans_per_second = 1000      # default
                telemetry.slow = "1s"                  # default
                telemetry.log_lines_per_second = 1000  # default
                policy.timeout = "15s"                 # default
                policy.attempt_timeout = "15s"         # default
                policy.connect_timeout = "5s"          # default
                policy.idle_timeout = "5m"             # default
                policy.retries = 2                     # default
                policy.backoff.base = "25ms"           # default
                policy.backoff.cap = "250ms"           # default
                policy.retry_budget.percent = 20       # default
                policy.retry_budget.floor = 10         # default
                policy.parked = 1024                   # default
                policy.hedge = false                   # default
                policy.ejection = true                 # default
                policy.ejection.failures = 5           # default
                policy.ejection.success_rate = 80      # default
                policy.ejection.slow = "1s"            # default
                policy.ejection.slow_rate = 100        # default
                policy.ejection.window = "10s"         # default
                policy.ejection.minimum = 5            # default
                policy.ejection.base = "1s"            # default
                policy.ejection.cap = "1m"             # default
                policy.ejection.at_most = 50           # default
                policy.ejection.panic = 50             # default
                policy.breaker = false                 # default
                policy.concurrency = false             # default
                policy.per_caller = false              # default
                policy.priority = "normal"             # default
                policy.fallback = false                # default
                policy.faults = []                     # default
                services.users.name = "users"          # madang.toml:4
                services.users.protocol = "http"       # default
                services.users.run = "node users.js"   # madang.toml:5
                services.users.port = assigned         # default
                services.users.replicas = 1            # default
                routes.0.path = "/users/**"            # madang.toml:6
                routes.0.to.users = 1                  # madang.toml:6
            "#]],
        )
        .await;
    let ran = with(GOOD).run("check --explain --format json").await;
    let values: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        values[0],
        serde_json::json!({ "key": "system.name", "value": "\"shop\"", "place": "madang.toml:2" })
    );
}

#[tokio::test]
async fn the_schema_needs_no_manifest() {
    let ran = Fake::down().run("check --schema").await;
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
