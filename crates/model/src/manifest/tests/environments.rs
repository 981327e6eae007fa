//! What an environment changes.

use expect_test::{Expect, expect};

use super::{Memory, rendered};

const MANIFEST: &str = r#"
[system]
name = "shop"
include = ["*/*.toml"]

[gateway]
listen = 3000

[policy]
timeout = "10s"
retries = 1

[services.users]
run = "users --verbose"
env = { LEVEL = "debug", KEEP = "1" }
routes = ["/users", "/debug"]
"#;

const PRODUCTION: &str = r#"
[gateway]
listen = "0.0.0.0:443"

[policy]
retries = 0

[services.users]
run = "users"
replicas = 4
env = { LEVEL = "info" }
routes = ["/users"]

[services.cache]
run = "cache"
"#;

const FILES: &[(&str, &str)] = &[
    ("madang.toml", MANIFEST),
    ("madang.production.toml", PRODUCTION),
    ("madang.staging.toml", ""),
    ("orders/service.toml", "name = \"orders\"\nrun = \"orders\"\ntimeout = \"1s\"\n"),
    ("orders/service.production.toml", "timeout = \"2s\"\n"),
];

#[test]
fn tables_are_merged_and_all_else_is_replaced() {
    let loaded = match Memory::new(FILES.iter().copied()).load_in(Some("production")) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{}", rendered(&errors)),
    };
    let system = &loaded.system;
    let files: Vec<_> = system.files.iter().map(|file| file.display().to_string()).collect();
    assert_eq!(
        files,
        [
            "/shop/madang.toml",
            "/shop/madang.production.toml",
            "/shop/orders/service.toml",
            "/shop/orders/service.production.toml"
        ]
    );
    let lines = loaded.explain().iter().filter(|line| line.place.to_string() != "default");
    let told: String =
        lines.map(|line| format!("{} = {}  # {}\n", line.key, line.value, line.place)).collect();
    expect![[r#"
        system.name = "shop"  # madang.toml:3
        system.include = "*/*.toml"  # madang.toml:4
        gateway.listen = "0.0.0.0:443"  # madang.production.toml:3
        policy.timeout = "10s"  # madang.toml:10
        policy.retries = 0  # madang.production.toml:6
        services.cache.name = "cache"  # madang.production.toml:14
        services.orders.name = "orders"  # orders/service.toml:1
        services.orders.policy.timeout = "2s"  # orders/service.production.toml:1
        services.users.name = "users"  # madang.toml:13
        services.cache.run = "cache"  # madang.production.toml:15
        services.orders.run = "orders"  # orders/service.toml:2
        services.users.run = "users"  # madang.production.toml:9
        services.users.replicas = 4  # madang.production.toml:10
        services.users.env.KEEP = "1"  # madang.toml:15
        services.users.env.LEVEL = "info"  # madang.production.toml:11
        routes.0.path = "/users"  # madang.production.toml:12
        routes.0.to.users = 1  # madang.production.toml:12
    "#]]
    .assert_eq(&told);
}

#[test]
fn without_an_environment_there_is_none() {
    let system = Memory::new(FILES.iter().copied()).load().unwrap().system;
    assert_eq!(system.gateway.listen, ([127, 0, 0, 1], 3000).into());
    assert_eq!((system.files.len(), system.services.len()), (2, 2), "an overlay is no service of its own");
}

fn refused_in(environment: &str, files: &[(&str, &str)], expected: Expect) {
    let errors = Memory::new(files.iter().copied()).load_in(Some(environment)).unwrap_err();
    expected.assert_eq(&rendered(&errors));
}

#[test]
fn an_environment_that_is_not_there() {
    refused_in(
        "prodction",
        FILES,
        expect![[r#"
        MDG-MF-035

          × there is no environment "prodction"
          help: did you mean "production"? The environments are production, staging
    "#]],
    );
    refused_in(
        "../madang",
        &FILES[..1],
        expect![[r#"
        MDG-MF-035

          × there is no environment "../madang"
          help: the file of an environment stands beside the one that it changes: madang.NAME.toml
        MDG-MF-026

          × no file matches "*/*.toml"
           ╭─[madang.toml:4:12]
         3 │ name = "shop"
         4 │ include = ["*/*.toml"]
           ·            ─────┬────
           ·                 ╰── matches nothing
         5 │
           ╰────
          help: it is looked for in /shop; `*` stands for any part of one name, such as "*/service.toml"
    "#]],
    );
}

#[test]
fn an_error_in_an_overlay_is_shown_there() {
    let production = "[gateway]\nlisten = \"here\"\nreplicas = 3\n[services.users]\nreplica = 2\n[policy]\nattempt_timeout = \"11s\"\n";
    refused_in(
        "production",
        &[
            ("madang.toml", &MANIFEST.replace("include = [\"*/*.toml\"]", "")),
            ("madang.production.toml", production),
        ],
        expect![[r#"
            MDG-MF-009

              × `listen` cannot be "here"
               ╭─[madang.production.toml:2:10]
             1 │ [gateway]
             2 │ listen = "here"
               ·          ───┬──
               ·             ╰── it is not an address with a port
             3 │ replicas = 3
               ╰────
              help: write a port for this machine alone (3000), or an address and a port: "127.0.0.1:3000",
                    "[::1]:3000"; "0.0.0.0:3000" is open to the network
            MDG-MF-005

              × `replicas` is not a key of [gateway]: it belongs to [services.NAME] or [units.NAME]
               ╭─[madang.production.toml:3:1]
             2 │ listen = "here"
             3 │ replicas = 3
               · ────┬───
               ·     ╰── belongs to [services.NAME] or [units.NAME]
             4 │ [services.users]
               ╰────
              help: move it to [services.NAME] or [units.NAME]
            MDG-MF-004

              × `replica` is not a key of a service
               ╭─[madang.production.toml:5:1]
             4 │ [services.users]
             5 │ replica = 2
               · ───┬───
               ·    ╰── unknown key
             6 │ [policy]
               ╰────
              help: did you mean `replicas`? The keys of a service are `owner`, `domain`, `url`, `listen`, `protocol`,
                    `timeout`, `policy`, `edge`, `calls`, `database`, `require`, `routes`, `run`, `build`, `health`,
                    `port`, `replicas`, `env`, `depends_on`, `requires`
            MDG-MF-033

              × `attempt_timeout` is more than `timeout`: "11s" and "10s"
               ╭─[madang.production.toml:7:19]
             6 │ [policy]
             7 │ attempt_timeout = "11s"
               ·                   ──┬──
               ·                     ╰── does not fit the other
               ╰────
              help: change one of them

            Advice:
              ☞ the other, at madang.toml:10
                ╭─[madang.toml:10:11]
              9 │ [policy]
             10 │ timeout = "10s"
                ·           ──┬──
                ·             ╰── the other
             11 │ retries = 1
                ╰────
        "#]],
    );
    refused_in(
        "production",
        &[("madang.toml", ""), ("madang.production.toml", "[gateway")],
        expect![[r#"
        MDG-MF-003

          × madang.production.toml is not TOML: unclosed table
           ╭─[madang.production.toml:1:8]
         1 │ [gateway
           ·        ┬
           ·        ╰── expected `]`
           ╰────
          help: a manifest is TOML: `key = "text"`, `key = 3`, `[table]`; see https://toml.io
    "#]],
    );
}
