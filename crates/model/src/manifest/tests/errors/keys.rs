//! What is said of keys: unknown, misplaced, missing, or with a value of another type.

use expect_test::expect;

use crate::manifest::tests::{refused, refused_files};

#[test]
fn unknown_key() {
    refused(
        "[services.users]\nrun = \"a\"\nreplcas = 2\ncolour = \"red\"\n",
        expect![[r#"
            MDG-MF-004

              × `replcas` is not a key of a service
               ╭─[madang.toml:3:1]
             2 │ run = "a"
             3 │ replcas = 2
               · ───┬───
               ·    ╰── unknown key
             4 │ colour = "red"
               ╰────
              help: did you mean `replicas`? The keys of a service are `owner`, `domain`, `url`, `listen`, `protocol`,
                    `timeout`, `policy`, `edge`, `calls`, `database`, `require`, `routes`, `run`, `build`, `health`,
                    `port`, `replicas`, `env`, `depends_on`, `requires`
            MDG-MF-004

              × `colour` is not a key of a service
               ╭─[madang.toml:4:1]
             3 │ replcas = 2
             4 │ colour = "red"
               · ───┬──
               ·    ╰── unknown key
               ╰────
              help: the keys of a service are `owner`, `domain`, `url`, `listen`, `protocol`, `timeout`, `policy`,
                    `edge`, `calls`, `database`, `require`, `routes`, `run`, `build`, `health`, `port`, `replicas`,
                    `env`, `depends_on`, `requires`
        "#]],
    );
    refused(
        "[[routes]]\npath = \"/a\"\nto = \"a\"\nmethod = \"GET\"\n[services.a]\nrun = \"a\"\n",
        expect![[r#"
            MDG-MF-004

              × `method` is not a key of a route
               ╭─[madang.toml:4:1]
             3 │ to = "a"
             4 │ method = "GET"
               · ───┬──
               ·    ╰── unknown key
             5 │ [services.a]
               ╰────
              help: did you mean `methods`? The keys of a route are `path`, `host`, `methods`, `headers`, `to`,
                    `timeout`, `policy`, `require`, `redirect`, `sticky`, `edge`
        "#]],
    );
    refused(
        "servces = 1\n[services.a]\nrun = \"a\"\n[units]\n",
        expect![[r#"
            MDG-MF-004

              × `servces` is not a key of a manifest
               ╭─[madang.toml:1:1]
             1 │ servces = 1
               · ───┬───
               ·    ╰── unknown key
             2 │ [services.a]
               ╰────
              help: did you mean `services`? The keys of a manifest are `system`, `policy`, `gateway`, `issuer`,
                    `telemetry`, `admin`, `services`, `units`, `routes`, `compositions`
        "#]],
    );
    refused(
        "[services.a]\nrun = \"a\"\ncalls = { a = { timeot = \"3s\" } }\n",
        expect![[r#"
            MDG-MF-034

              × "a" declares calls to itself
               ╭─[madang.toml:3:11]
             2 │ run = "a"
             3 │ calls = { a = { timeot = "3s" } }
               ·           ┬
               ·           ╰── the same service
               ╰────
              help: remove it: what a service needs of itself it has in its own process, and other instances of it share
                    its database
            MDG-MF-004

              × `timeot` is not a key of the policy of a call
               ╭─[madang.toml:3:17]
             2 │ run = "a"
             3 │ calls = { a = { timeot = "3s" } }
               ·                 ───┬──
               ·                    ╰── unknown key
               ╰────
              help: did you mean `timeout`? The keys of the policy of a call are `timeout`, `attempt_timeout`,
                    `connect_timeout`, `idle_timeout`, `retries`, `backoff`, `retry_budget`, `parked`, `hedge`,
                    `ejection`, `breaker`, `concurrency`, `priority`, `fallback`, `faults`
        "#]],
    );
}

#[test]
fn misplaced_key() {
    refused(
        "[services.users]\nrun = \"a\"\n\nname = \"shop\"\ninclude = [\"*/service.toml\"]\n",
        expect![[r#"
            MDG-MF-005

              × `name` is not a key of a service: it belongs to [system]
               ╭─[madang.toml:4:1]
             3 │
             4 │ name = "shop"
               · ──┬─
               ·   ╰── belongs to [system]
             5 │ include = ["*/service.toml"]
               ╰────
              help: in TOML a key belongs to the last table header above it, here [services.users] in line 1: move it to
                    [system]
            MDG-MF-005

              × `include` is not a key of a service: it belongs to [system]
               ╭─[madang.toml:5:1]
             4 │ name = "shop"
             5 │ include = ["*/service.toml"]
               · ───┬───
               ·    ╰── belongs to [system]
               ╰────
              help: in TOML a key belongs to the last table header above it, here [services.users] in line 1: move it to
                    [system]
        "#]],
    );
    refused(
        "listen = 3000\n[gateway]\nport = 3000\n[services.a]\nrun = \"a\"\n",
        expect![[r#"
            MDG-MF-005

              × `listen` is not a key of a manifest: it belongs to [gateway] or [admin] or [services.NAME]
               ╭─[madang.toml:1:1]
             1 │ listen = 3000
               · ───┬──
               ·    ╰── belongs to [gateway] or [admin] or [services.NAME]
             2 │ [gateway]
               ╰────
              help: the keys above the first table header belong to the file as a whole: move it to [gateway] or [admin]
                    or [services.NAME]
            MDG-MF-005

              × `port` is not a key of [gateway]: it belongs to [services.NAME] or [units.NAME]
               ╭─[madang.toml:3:1]
             2 │ [gateway]
             3 │ port = 3000
               · ──┬─
               ·   ╰── belongs to [services.NAME] or [units.NAME]
             4 │ [services.a]
               ╰────
              help: in TOML a key belongs to the last table header above it, here [gateway] in line 2: move it to
                    [services.NAME] or [units.NAME]
        "#]],
    );
    refused(
        "[gateway]\ntimeout = \"3s\"\nservices.users = { run = \"a\", path = \"/a\" }\n",
        expect![[r#"
            MDG-MF-005

              × `services` is not a key of [gateway]: it belongs to the top of this file, above line 1
               ╭─[madang.toml:3:1]
             2 │ timeout = "3s"
             3 │ services.users = { run = "a", path = "/a" }
               · ────┬───
               ·     ╰── belongs to the top of this file, above line 1
               ╰────
              help: in TOML a key belongs to the last table header above it, here [gateway] in line 1: move it to the
                    top of this file, above line 1
        "#]],
    );
    refused_files(
        &[
            ("madang.toml", "[system]\ninclude = [\"*/service.toml\"]\n"),
            (
                "users/service.toml",
                "run = \"a\"\n\n[[routes]]\npath = \"/users/**\"\nname = \"users\"\nreplicas = 2\n",
            ),
            ("orders/service.toml", "name = \"orders\"\nrun = \"a\"\ninclude = [\"x\"]\n"),
        ],
        expect![[r#"
            MDG-MF-005

              × `include` is not a key of a service's file: it belongs to [system] of madang.toml
               ╭─[orders/service.toml:3:1]
             2 │ run = "a"
             3 │ include = ["x"]
               · ───┬───
               ·    ╰── belongs to [system] of madang.toml
               ╰────
              help: the keys above the first table header belong to the file as a whole: move it to [system] of
                    madang.toml
            MDG-MF-007

              × a service's file needs the key `name`
               ╭─[users/service.toml:1:1]
             1 │ run = "a"
               · ▲
               · ╰── `name` is missing
             2 │
               ╰────
              help: add `name`: The service's name
            MDG-MF-005

              × `name` is not a key of a route: it belongs to the top of this file, above line 3
               ╭─[users/service.toml:5:1]
             4 │ path = "/users/**"
             5 │ name = "users"
               · ──┬─
               ·   ╰── belongs to the top of this file, above line 3
             6 │ replicas = 2
               ╰────
              help: in TOML a key belongs to the last table header above it, here [[routes]] in line 3: move it to the
                    top of this file, above line 3
            MDG-MF-005

              × `replicas` is not a key of a route: it belongs to the top of this file, above line 3
               ╭─[users/service.toml:6:1]
             5 │ name = "users"
             6 │ replicas = 2
               · ────┬───
               ·     ╰── belongs to the top of this file, above line 3
               ╰────
              help: in TOML a key belongs to the last table header above it, here [[routes]] in line 3: move it to the
                    top of this file, above line 3
        "#]],
    );
}

#[test]
fn wrong_type() {
    refused(
        r#"
system = "shop"
[services.users]
run = ["node", "users.js"]
port = "3001"
routes = "/users/**"
timeout = 3
owner = 7
replicas = 1.5
env = ["A=1"]
calls = [1]
depends_on = { orders = true }
database = 2020-01-01
"#,
        expect![[r#"
            MDG-MF-006

              × `system` takes a table
               ╭─[madang.toml:2:10]
             1 │
             2 │ system = "shop"
               ·          ───┬──
               ·             ╰── this is a text
             3 │ [services.users]
               ╰────
              help: `system`: The system as a whole
            MDG-MF-006

              × `run` takes a text or `false`
               ╭─[madang.toml:4:7]
             3 │ [services.users]
             4 │ run = ["node", "users.js"]
               ·       ──────────┬─────────
               ·                 ╰── this is an array
             5 │ port = "3001"
               ╰────
              help: `run`: The command that runs it, in the folder of this file, or `false` if others start it and its
                    instances join. `${self.port}`, `${services.NAME.url}` and the like are filled in when an instance
                    starts
            MDG-MF-006

              × `port` takes a whole number or `false`
               ╭─[madang.toml:5:8]
             4 │ run = ["node", "users.js"]
             5 │ port = "3001"
               ·        ───┬──
               ·           ╰── this is a text
             6 │ routes = "/users/**"
               ╰────
              help: write the number without quotes: port = 3001
            MDG-MF-006

              × `routes` takes an array
               ╭─[madang.toml:6:10]
             5 │ port = "3001"
             6 │ routes = "/users/**"
               ·          ─────┬─────
               ·               ╰── this is a text
             7 │ timeout = 3
               ╰────
              help: write an array: routes = ["/users/**"]
            MDG-MF-006

              × `timeout` takes a text
               ╭─[madang.toml:7:11]
             6 │ routes = "/users/**"
             7 │ timeout = 3
               ·           ┬
               ·           ╰── this is a number
             8 │ owner = 7
               ╰────
              help: write the unit too: timeout = "3s"
            MDG-MF-006

              × `owner` takes a text
               ╭─[madang.toml:8:9]
             7 │ timeout = 3
             8 │ owner = 7
               ·         ┬
               ·         ╰── this is a number
             9 │ replicas = 1.5
               ╰────
              help: write it in quotes: owner = "7"
            MDG-MF-006

              × `replicas` takes a whole number
                ╭─[madang.toml:9:12]
              8 │ owner = 7
              9 │ replicas = 1.5
                ·            ─┬─
                ·             ╰── this is a number with a fraction
             10 │ env = ["A=1"]
                ╰────
              help: `replicas`: How many instances run at once. Default 1
            MDG-MF-006

              × `env` takes a table
                ╭─[madang.toml:10:7]
              9 │ replicas = 1.5
             10 │ env = ["A=1"]
                ·       ───┬───
                ·          ╰── this is an array
             11 │ calls = [1]
                ╰────
              help: `env`: Environment of its own. `${self.port}`, `${services.NAME.url}` and the like are filled in
                    when an instance starts
            MDG-MF-006

              × `calls` takes a text
                ╭─[madang.toml:11:10]
             10 │ env = ["A=1"]
             11 │ calls = [1]
                ·          ┬
                ·          ╰── this is a number
             12 │ depends_on = { orders = true }
                ╰────
              help: write it in quotes: calls = "1"
            MDG-MF-006

              × `depends_on` takes an array
                ╭─[madang.toml:12:14]
             11 │ calls = [1]
             12 │ depends_on = { orders = true }
                ·              ────────┬────────
                ·                      ╰── this is a table
             13 │ database = 2020-01-01
                ╰────
              help: `depends_on`: The services that must be ready before it starts
            MDG-MF-006

              × `database` takes a text
                ╭─[madang.toml:13:12]
             12 │ depends_on = { orders = true }
             13 │ database = 2020-01-01
                ·            ─────┬────
                ·                 ╰── this is a date
                ╰────
              help: `database`: Its own database: "sqlite" (a file that Madang keeps), "postgres" (a database on
                    [system] postgres), "sqlite:PATH" or "postgres://…"
        "#]],
    );
}

#[test]
fn missing_key() {
    refused(
        "[units.core]\nrun = \"a\"\n[[routes]]\nto = \"a\"\n[services.a]\nrun = \"a\"\n",
        expect![[r#"
            MDG-MF-007

              × a unit needs the key `services`
               ╭─[madang.toml:1:1]
             1 │ [units.core]
               · ──────┬─────
               ·       ╰── `services` is missing
             2 │ run = "a"
               ╰────
              help: add `services`: The services that share this unit's process
            MDG-MF-007

              × a route needs the key `path`
               ╭─[madang.toml:3:1]
             2 │ run = "a"
             3 │ [[routes]]
               · ─────┬────
               ·      ╰── `path` is missing
             4 │ to = "a"
               ╰────
              help: add `path`: The path: `/users/{id}`, `/users/*/orders`; `/users/**` matches `/users` and all below
                    it
        "#]],
    );
    refused(
        "[services.a]\nrun = \"a\"\n[[routes]]\npath = \"/a\"\n",
        expect![[r#"
            MDG-MF-007

              × a route outside a service needs the key `to`
               ╭─[madang.toml:4:8]
             3 │ [[routes]]
             4 │ path = "/a"
               ·        ──┬─
               ·          ╰── leads nowhere
               ╰────
              help: add `to`: the name of a service, or a table from services to weights: to = { legacy = 95, cart = 5 }
        "#]],
    );
    refused_files(
        &[("madang.toml", "system.include = [\"a.toml\"]\n"), ("a.toml", "run = \"a\"\n")],
        expect![[r#"
            MDG-MF-007

              × a service's file needs the key `name`
               ╭─[a.toml:1:1]
             1 │ run = "a"
               · ▲
               · ╰── `name` is missing
               ╰────
              help: add `name`: The service's name
        "#]],
    );
}
