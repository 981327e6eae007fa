//! Every message, as a person sees it. One test per code, in the order of the codes.

use std::{fs, io, path::Path};

use expect_test::expect;
use miette::Diagnostic;

use super::{Memory, ROOT, env, refused, refused_files, rendered};
use crate::manifest::{Code, files::Files, find, load_from};

#[test]
fn no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    // Without a frame, since the folder's name is as long as the machine likes.
    let told = |path: &Path| {
        let errors = find(path).unwrap_err();
        let error = errors.iter().next().unwrap();
        let told = format!("{}: {error}\nhelp: {}\n", error.kind().id, error.help().unwrap());
        told.replace(&*root.to_string_lossy(), "/tmp/shop")
    };
    expect![[r#"
        MDG-MF-001: there is no madang.toml in /tmp/shop
        help: name a folder with a madang.toml, or a manifest file; the smallest one is

        [services.hello]
        run = "node hello.js"
        routes = ["/**"]
    "#]]
    .assert_eq(&told(&root));
    fs::create_dir(root.join("orders")).unwrap();
    fs::write(root.join("madang.toml"), "").unwrap();
    expect![[r#"
        MDG-MF-001: there is no madang.toml in /tmp/shop/orders
        help: did you mean /tmp/shop/madang.toml?
    "#]]
    .assert_eq(&told(&root.join("orders")));
    fs::write(root.join("madang.production.toml"), "").unwrap();
    expect![[r#"
        MDG-MF-001: there is no manifest at /tmp/shop/madang.prodution.toml
        help: did you mean /tmp/shop/madang.production.toml?
    "#]]
    .assert_eq(&told(&root.join("madang.prodution.toml")));
}

#[test]
fn unreadable() {
    struct Locked(Memory);
    impl Files for Locked {
        fn read(&self, path: &Path) -> io::Result<String> {
            if path.ends_with("service.toml") {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.0.read(path)
        }
        fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
            self.0.list(folder)
        }
    }
    let files = [("madang.toml", "system.include = [\"*/service.toml\"]\n"), ("orders/service.toml", "")];
    let manifest = Path::new(ROOT).join("madang.toml");
    let errors = load_from(&manifest, &env, &Locked(Memory::new(files))).unwrap_err();
    expect![[r#"
        MDG-MF-002

          × failed to read /shop/orders/service.toml: permission denied
           ╭─[madang.toml:1:19]
         1 │ system.include = ["*/service.toml"]
           ·                   ────────┬───────
           ·                           ╰── included here
           ╰────
          help: a manifest's files are UTF-8 text of at most 1 MiB that the user of `madang` may read
    "#]]
    .assert_eq(&rendered(&errors));
    let errors = load_from(&manifest, &env, &Memory::default()).unwrap_err();
    expect![[r#"
        MDG-MF-002

          × failed to read /shop/madang.toml: entity not found
          help: a manifest's files are UTF-8 text of at most 1 MiB that the user of `madang` may read
    "#]]
    .assert_eq(&rendered(&errors));
}

#[test]
fn syntax() {
    refused(
        "[services.users]\nrun = node users.js\n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: string values must be quoted
               ╭─[madang.toml:2:7]
             1 │ [services.users]
             2 │ run = node users.js
               ·       ──────┬──────
               ·             ╰── a text without quotes
               ╰────
              help: write it in quotes: "node users.js"
        "#]],
    );
    refused(
        "[services.users]\nrun = \"a\"\nrun = \"b\"\n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: duplicate key
               ╭─[madang.toml:3:1]
             2 │ run = "a"
             3 │ run = "b"
               · ─┬─
               ·  ╰── written before
               ╰────
              help: each key and each table is written once: rename one, or merge what is below them
        "#]],
    );
    refused(
        "[services.users\nrun = \"a\"\nport = \n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: unclosed table
               ╭─[madang.toml:1:15]
             1 │ [services.users
               ·               ┬
               ·               ╰── expected `]`
             2 │ run = "a"
               ╰────
              help: a manifest is TOML: `key = "text"`, `key = 3`, `[table]`; see https://toml.io
        "#]],
    );
    refused(
        "[services.users]\nrun = \"a\"\n[services.users]\nrun = \"b\"\n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: duplicate key
               ╭─[madang.toml:3:11]
             2 │ run = "a"
             3 │ [services.users]
               ·           ──┬──
               ·             ╰── written before
             4 │ run = "b"
               ╰────
              help: each key and each table is written once: rename one, or merge what is below them
            MDG-MF-003

              × madang.toml is not TOML: duplicate key
               ╭─[madang.toml:4:1]
             3 │ [services.users]
             4 │ run = "b"
               · ─┬─
               ·  ╰── written before
               ╰────
              help: each key and each table is written once: rename one, or merge what is below them
        "#]],
    );
}

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
              help: did you mean `replicas`? The keys of a service are `owner`, `listen`, `protocol`, `timeout`,
                    `calls`, `database`, `routes`, `run`, `build`, `health`, `port`, `replicas`, `env`, `depends_on`
            MDG-MF-004

              × `colour` is not a key of a service
               ╭─[madang.toml:4:1]
             3 │ replcas = 2
             4 │ colour = "red"
               · ───┬──
               ·    ╰── unknown key
               ╰────
              help: the keys of a service are `owner`, `listen`, `protocol`, `timeout`, `calls`, `database`, `routes`,
                    `run`, `build`, `health`, `port`, `replicas`, `env`, `depends_on`
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
                    `timeout`
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
              help: did you mean `services`? The keys of a manifest are `system`, `gateway`, `services`, `units`,
                    `routes`
        "#]],
    );
    refused(
        "[services.a]\nrun = \"a\"\ncalls = { a = { timeot = \"3s\" } }\n",
        expect![[r#"
            MDG-MF-004

              × `timeot` is not a key of the limits of a call
               ╭─[madang.toml:3:17]
             2 │ run = "a"
             3 │ calls = { a = { timeot = "3s" } }
               ·                 ───┬──
               ·                    ╰── unknown key
               ╰────
              help: did you mean `timeout`? The keys of the limits of a call are `timeout`
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

              × `listen` is not a key of a manifest: it belongs to [gateway] or [services.NAME]
               ╭─[madang.toml:1:1]
             1 │ listen = 3000
               · ───┬──
               ·    ╰── belongs to [gateway] or [services.NAME]
             2 │ [gateway]
               ╰────
              help: the keys above the first table header belong to the file as a whole: move it to [gateway] or
                    [services.NAME]
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

              × `run` takes a text
               ╭─[madang.toml:4:7]
             3 │ [services.users]
             4 │ run = ["node", "users.js"]
               ·       ──────────┬─────────
               ·                 ╰── this is an array
             5 │ port = "3001"
               ╰────
              help: `run`: The command that runs it, in the folder of this file. `${self.port}` and the like are filled
                    in when an instance starts
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
              help: `env`: Environment of its own. `${self.port}` and the like are filled in when an instance starts
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

#[test]
fn bad_name() {
    refused(
        "[system]\nname = \"My Shop\"\n[services.Gift_Cards]\nrun = \"a\"\nenv = { \"1A\" = \"\" }\n[units.9]\nservices = [\"-\"]\n",
        expect![[r#"
            MDG-MF-008

              × `name` cannot be "My Shop"
               ╭─[madang.toml:2:8]
             1 │ [system]
             2 │ name = "My Shop"
               ·        ────┬────
               ·            ╰── a name starts with a letter from a to z
             3 │ [services.Gift_Cards]
               ╰────
              help: write "my-shop": 1 to 63 of a to z, 0 to 9 and `-`, a letter first
            MDG-MF-008

              × `services` cannot have "Gift_Cards" for a name
               ╭─[madang.toml:3:11]
             2 │ name = "My Shop"
             3 │ [services.Gift_Cards]
               ·           ─────┬────
               ·                ╰── a name starts with a letter from a to z
             4 │ run = "a"
               ╰────
              help: write "gift-cards": 1 to 63 of a to z, 0 to 9 and `-`, a letter first
            MDG-MF-008

              × `env` cannot have "1A" for a name
               ╭─[madang.toml:5:9]
             4 │ run = "a"
             5 │ env = { "1A" = "" }
               ·         ──┬─
               ·           ╰── a variable's name has letters, digits and `_`, and no digit first
             6 │ [units.9]
               ╰────
              help: write a name such as "SERVER_PORT"
            MDG-MF-008

              × `units` cannot have "9" for a name
               ╭─[madang.toml:6:8]
             5 │ env = { "1A" = "" }
             6 │ [units.9]
               ·        ┬
               ·        ╰── a name starts with a letter from a to z
             7 │ services = ["-"]
               ╰────
              help: write 1 to 63 of a to z, 0 to 9 and `-`, a letter first
            MDG-MF-008

              × `services` cannot be "-"
               ╭─[madang.toml:7:13]
             6 │ [units.9]
             7 │ services = ["-"]
               ·             ─┬─
               ·              ╰── a name starts with a letter from a to z
               ╰────
              help: write 1 to 63 of a to z, 0 to 9 and `-`, a letter first
        "#]],
    );
    let nameless = Memory([("/2/madang.toml".into(), "[services.a]\nrun = \"a\"\n".into())].into());
    let errors = load_from(Path::new("/2/madang.toml"), &env, &nameless).unwrap_err();
    expect![[r#"
        MDG-MF-008

          × the folder /2 gives the system no name
          help: add one to the manifest: [system] name = "shop"
    "#]]
    .assert_eq(&rendered(&errors));
}

#[test]
fn bad_value() {
    refused(
        r#"
[system]
include = ["a/**/service.toml"]
postgres = "postgres://db/shop"
[gateway]
listen = "localhost:3000"
timeout = "3 seconds"
[services.users]
run = " "
port = 0
listen = 70000
replicas = 0
protocol = "http2"
timeout = "0s"
health = "healthz"
database = "sqllite"
[services.orders]
run = "a"
timeout = "31d"
database = "postgres://db"
[services.cart]
run = "a"
database = "sqlite::memory:"
"#,
        expect![[r#"
            MDG-MF-009

              × `include` cannot be "a/**/service.toml"
               ╭─[madang.toml:3:12]
             2 │ [system]
             3 │ include = ["a/**/service.toml"]
               ·            ─────────┬─────────
               ·                     ╰── it is not a pattern of files
             4 │ postgres = "postgres://db/shop"
               ╰────
              help: write a path in which `*` stands for any part of one name, such as "*/service.toml"
            MDG-MF-009

              × `postgres` cannot be "postgres://db/shop"
               ╭─[madang.toml:4:12]
             3 │ include = ["a/**/service.toml"]
             4 │ postgres = "postgres://db/shop"
               ·            ──────────┬─────────
               ·                      ╰── it is not the URL of a PostgreSQL server
             5 │ [gateway]
               ╰────
              help: write a URL without a database, such as "postgres://user@127.0.0.1:5432": each service gets its own
                    database there
            MDG-MF-009

              × `listen` cannot be "localhost:3000"
               ╭─[madang.toml:6:10]
             5 │ [gateway]
             6 │ listen = "localhost:3000"
               ·          ────────┬───────
               ·                  ╰── it is not an address with a port
             7 │ timeout = "3 seconds"
               ╰────
              help: write a port for this machine alone (3000), or an address and a port: "127.0.0.1:3000",
                    "[::1]:3000"; "0.0.0.0:3000" is open to the network
            MDG-MF-009

              × `timeout` cannot be "3 seconds"
               ╭─[madang.toml:7:11]
             6 │ listen = "localhost:3000"
             7 │ timeout = "3 seconds"
               ·           ─────┬─────
               ·                ╰── it is not a duration
             8 │ [services.users]
               ╰────
              help: write a whole number and a unit, such as "250ms", "3s", "5m" or "1h"
            MDG-MF-009

              × `run` cannot be " "
                ╭─[madang.toml:9:7]
              8 │ [services.users]
              9 │ run = " "
                ·       ─┬─
                ·        ╰── it is blank or holds a NUL character
             10 │ port = 0
                ╰────
              help: write a text
            MDG-MF-009

              × `port` cannot be 0
                ╭─[madang.toml:10:8]
              9 │ run = " "
             10 │ port = 0
                ·        ┬
                ·        ╰── not within 1 and 65535
             11 │ listen = 70000
                ╰────
              help: write a whole number from 1 to 65535
            MDG-MF-009

              × `listen` cannot be 70000
                ╭─[madang.toml:11:10]
             10 │ port = 0
             11 │ listen = 70000
                ·          ──┬──
                ·            ╰── not within 0 and 65535
             12 │ replicas = 0
                ╰────
              help: write a whole number from 0 to 65535
            MDG-MF-009

              × `replicas` cannot be 0
                ╭─[madang.toml:12:12]
             11 │ listen = 70000
             12 │ replicas = 0
                ·            ┬
                ·            ╰── not within 1 and 1000
             13 │ protocol = "http2"
                ╰────
              help: write a whole number from 1 to 1000
            MDG-MF-009

              × `protocol` cannot be "http2"
                ╭─[madang.toml:13:12]
             12 │ replicas = 0
             13 │ protocol = "http2"
                ·            ───┬───
                ·               ╰── not one of its values
             14 │ timeout = "0s"
                ╰────
              help: did you mean "http"? `protocol` takes "http" or "h2c"
            MDG-MF-009

              × `timeout` cannot be "0s"
                ╭─[madang.toml:14:11]
             13 │ protocol = "http2"
             14 │ timeout = "0s"
                ·           ──┬─
                ·             ╰── no time at all is no limit that can be met
             15 │ health = "healthz"
                ╰────
              help: write a whole number and a unit, such as "250ms", "3s", "5m" or "1h"
            MDG-MF-009

              × `health` cannot be "healthz"
                ╭─[madang.toml:15:10]
             14 │ timeout = "0s"
             15 │ health = "healthz"
                ·          ────┬────
                ·              ╰── it is not a path of a URL
             16 │ database = "sqllite"
                ╰────
              help: write the path that answers 2xx when ready, such as "/healthz"
            MDG-MF-009

              × `database` cannot be "sqllite"
                ╭─[madang.toml:16:12]
             15 │ health = "healthz"
             16 │ database = "sqllite"
                ·            ────┬────
                ·                ╰── it is not a database that Madang knows
             17 │ [services.orders]
                ╰────
              help: did you mean "sqlite"? Otherwise write "sqlite", "postgres", "sqlite:path/to.db" or "postgres://
                    user@host/database"
            MDG-MF-009

              × `timeout` cannot be "31d"
                ╭─[madang.toml:19:11]
             18 │ run = "a"
             19 │ timeout = "31d"
                ·           ──┬──
                ·             ╰── it is longer than 30 days
             20 │ database = "postgres://db"
                ╰────
              help: write a whole number and a unit, such as "250ms", "3s", "5m" or "1h"
            MDG-MF-009

              × `database` cannot be "postgres://db"
                ╭─[madang.toml:20:12]
             19 │ timeout = "31d"
             20 │ database = "postgres://db"
                ·            ───────┬───────
                ·                   ╰── it names no server or no database
             21 │ [services.cart]
                ╰────
              help: write "sqlite", "postgres", "sqlite:path/to.db" or "postgres://user@host/database"
            MDG-MF-009

              × `database` cannot be "sqlite::memory:"
                ╭─[madang.toml:23:12]
             22 │ run = "a"
             23 │ database = "sqlite::memory:"
                ·            ────────┬────────
                ·                    ╰── a database in memory is gone with its process, and each connection has another
                ╰────
              help: write "sqlite", "postgres", "sqlite:path/to.db" or "postgres://user@host/database"
        "#]],
    );
    let name = "a".repeat(60);
    let manifest = format!(
        "system.postgres = \"postgres://db\"\n[services.{name}]\nrun = \"a\"\ndatabase = \"postgres\"\nenv.A = \"{name}{name}${{X}}\"\n"
    );
    refused(
        &manifest,
        expect![[r#"
            MDG-MF-009

              × the database's name would have 65 characters
               ╭─[madang.toml:4:12]
             3 │ run = "a"
             4 │ database = "postgres"
               ·            ─────┬────
               ·                 ╰── its name is made of the system's and the service's
             5 │ env.A = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa${X}"
               ╰────
              help: PostgreSQL keeps 63: shorten one of the names, or write the database's URL
            MDG-MF-010

              × the variable X is not set
               ╭─[madang.toml:5:130]
             4 │ database = "postgres"
             5 │ env.A = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa${X}"
               ·                                                                                                                                  ──┬─
               ·                                                                                                                                    ╰── no value for it
               ╰────
              help: set X in the environment of `madang`, or write a default: ${X:-…}
        "#]],
    );
    let files: Vec<_> = (0..1_001).map(|n| format!("s{n}.toml")).collect();
    let mut files: Vec<_> = files.iter().map(|file| (file.as_str(), "")).collect();
    files.push(("madang.toml", "system.include = [\"s*.toml\"]\n"));
    refused_files(
        &files,
        expect![[r#"
            MDG-MF-009

              × "s*.toml" matches too many files
               ╭─[madang.toml:1:19]
             1 │ system.include = ["s*.toml"]
               ·                   ────┬────
               ·                       ╰── more than 1000
               ╰────
              help: name the folder of the services first, such as "services/*/service.toml"
        "#]],
    );
}

#[test]
fn variable() {
    refused(
        "[services.users]\nrun = \"a ${NODE_ENV} ${} ${X:-${Y}}\"\nowner = \"team ${OWNER\"\n",
        expect![[r#"
            MDG-MF-010

              × the variable NODE_ENV is not set
               ╭─[madang.toml:2:10]
             1 │ [services.users]
             2 │ run = "a ${NODE_ENV} ${} ${X:-${Y}}"
               ·          ─────┬─────
               ·               ╰── no value for it
             3 │ owner = "team ${OWNER"
               ╰────
              help: set NODE_ENV in the environment of `madang`, or write a default: ${NODE_ENV:-…}
            MDG-MF-010

              × "${}" is not a variable
               ╭─[madang.toml:2:22]
             1 │ [services.users]
             2 │ run = "a ${NODE_ENV} ${} ${X:-${Y}}"
               ·                      ─┬─
               ·                       ╰── not a variable
             3 │ owner = "team ${OWNER"
               ╰────
              help: write ${NAME} or ${NAME:-default}; a dollar sign before a brace is written $$
            MDG-MF-010

              × "${X:-${Y}" is not a variable
               ╭─[madang.toml:2:26]
             1 │ [services.users]
             2 │ run = "a ${NODE_ENV} ${} ${X:-${Y}}"
               ·                          ────┬────
               ·                              ╰── not a variable
             3 │ owner = "team ${OWNER"
               ╰────
              help: write ${NAME} or ${NAME:-default}; a dollar sign before a brace is written $$
            MDG-MF-010

              × "${OWNER" is not a variable
               ╭─[madang.toml:3:15]
             2 │ run = "a ${NODE_ENV} ${} ${X:-${Y}}"
             3 │ owner = "team ${OWNER"
               ·               ───┬───
               ·                  ╰── not a variable
               ╰────
              help: write ${NAME} or ${NAME:-default}; a dollar sign before a brace is written $$
        "#]],
    );
}

#[test]
fn placeholder() {
    refused(
        "[services.users]\nrun = \"a ${self.prot}\"\nbuild = \"b ${self.port}\"\nenv = { KEY = \"${secret.pay}\", HOST = \"${self.host}\" }\n",
        expect![[r#"
            MDG-MF-011

              × "${self.prot}" is not known
               ╭─[madang.toml:2:10]
             1 │ [services.users]
             2 │ run = "a ${self.prot}"
               ·          ──────┬─────
               ·                ╰── no such placeholder
             3 │ build = "b ${self.port}"
               ╰────
              help: did you mean ${self.port}? There are ${self.port}, ${self.unit}, ${self.service}, ${self.instance},
                    ${self.release}
            MDG-MF-011

              × "${self.port}" has no value yet when `build` is read
               ╭─[madang.toml:3:12]
             2 │ run = "a ${self.prot}"
             3 │ build = "b ${self.port}"
               ·            ──────┬─────
               ·                  ╰── known only when an instance starts
             4 │ env = { KEY = "${secret.pay}", HOST = "${self.host}" }
               ╰────
              help: only `run` and `env` can hold it; elsewhere use ${NAME}, a variable of the environment
            MDG-MF-011

              × secrets are not supported yet
               ╭─[madang.toml:4:16]
             3 │ build = "b ${self.port}"
             4 │ env = { KEY = "${secret.pay}", HOST = "${self.host}" }
               ·                ──────┬──────
               ·                      ╰── cannot be filled in
               ╰────
              help: until they are, pass the value in a variable of the environment of `madang`: ${NAME}
            MDG-MF-011

              × "${self.host}" is not known
               ╭─[madang.toml:4:40]
             3 │ build = "b ${self.port}"
             4 │ env = { KEY = "${secret.pay}", HOST = "${self.host}" }
               ·                                        ──────┬─────
               ·                                              ╰── no such placeholder
               ╰────
              help: there are ${self.port}, ${self.unit}, ${self.service}, ${self.instance}, ${self.release}
        "#]],
    );
}

#[test]
fn bad_path() {
    let routes = [
        "users", "/users/", "/a//b", "/**/a", "/v{id}", "/{a}/{a}", "/a*", "/a/../b", "/a b", "/a?b",
        "/a%2Fb", "/100%", "/{1}",
    ];
    let manifest = format!(
        "[services.users]\nrun = \"a\"\nroutes = [\n  {}\n]\n",
        routes.map(|r| format!("{r:?}")).join(",\n  ")
    );
    refused(
        &manifest,
        expect![[r#"
            MDG-MF-012

              × `routes` cannot be "users"
               ╭─[madang.toml:4:3]
             3 │ routes = [
             4 │   "users",
               ·   ───┬───
               ·      ╰── a path starts with `/`
             5 │   "/users/",
               ╰────
              help: write "/users"
            MDG-MF-012

              × `routes` cannot be "/users/"
               ╭─[madang.toml:5:3]
             4 │   "users",
             5 │   "/users/",
               ·   ────┬────
               ·       ╰── it ends with an empty segment
             6 │   "/a//b",
               ╰────
              help: write "/users", or "/users/**" for all below it too
            MDG-MF-012

              × `routes` cannot be "/a//b"
               ╭─[madang.toml:6:3]
             5 │   "/users/",
             6 │   "/a//b",
               ·   ───┬───
               ·      ╰── it has an empty segment (`//`)
             7 │   "/**/a",
               ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/**/a"
               ╭─[madang.toml:7:3]
             6 │   "/a//b",
             7 │   "/**/a",
               ·   ───┬───
               ·      ╰── `**` can only be the last segment
             8 │   "/v{id}",
               ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/v{id}"
               ╭─[madang.toml:8:3]
             7 │   "/**/a",
             8 │   "/v{id}",
               ·   ────┬───
               ·       ╰── `v{id}` is not a whole segment: `{name}`, `*` and `**` stand for one
             9 │   "/{a}/{a}",
               ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/{a}/{a}"
                ╭─[madang.toml:9:3]
              8 │   "/v{id}",
              9 │   "/{a}/{a}",
                ·   ─────┬────
                ·        ╰── it has the parameter `a` twice
             10 │   "/a*",
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/a*"
                ╭─[madang.toml:10:3]
              9 │   "/{a}/{a}",
             10 │   "/a*",
                ·   ──┬──
                ·     ╰── `a*` is not a whole segment: `{name}`, `*` and `**` stand for one
             11 │   "/a/../b",
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/a/../b"
                ╭─[madang.toml:11:3]
             10 │   "/a*",
             11 │   "/a/../b",
                ·   ────┬────
                ·       ╰── `..` is no segment of a path: `.` and `..` are resolved before routes are matched
             12 │   "/a b",
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/a b"
                ╭─[madang.toml:12:3]
             11 │   "/a/../b",
             12 │   "/a b",
                ·   ───┬──
                ·      ╰── `a b` is no segment of a path: it holds a space, a control character, `?`, `#` or a backslash
             13 │   "/a?b",
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/a?b"
                ╭─[madang.toml:13:3]
             12 │   "/a b",
             13 │   "/a?b",
                ·   ───┬──
                ·      ╰── `a?b` is no segment of a path: it holds a space, a control character, `?`, `#` or a backslash
             14 │   "/a%2Fb",
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/a%2Fb"
                ╭─[madang.toml:14:3]
             13 │   "/a?b",
             14 │   "/a%2Fb",
                ·   ────┬───
                ·       ╰── `a%2Fb` is no segment of a path: requests with an escaped slash, backslash or control character are refused
             15 │   "/100%",
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/100%"
                ╭─[madang.toml:15:3]
             14 │   "/a%2Fb",
             15 │   "/100%",
                ·   ───┬───
                ·      ╰── `100%` is no segment of a path: two hexadecimal digits follow a `%`
             16 │   "/{1}"
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
            MDG-MF-012

              × `routes` cannot be "/{1}"
                ╭─[madang.toml:16:3]
             15 │   "/100%",
             16 │   "/{1}"
                ·   ───┬──
                ·      ╰── `{1}` is not a whole segment: `{name}`, `*` and `**` stand for one
             17 │ ]
                ╰────
              help: a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it
        "#]],
    );
}

#[test]
fn bad_match() {
    refused(
        r#"
[services.users]
run = "a"
[[services.users.routes]]
path = "/a"
host = "https://shop.example:443"
methods = ["get", "FETCH"]
headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
"#,
        expect![[r#"
            MDG-MF-013

              × `host` cannot be "https://shop.example:443"
               ╭─[madang.toml:6:8]
             5 │ path = "/a"
             6 │ host = "https://shop.example:443"
               ·        ─────────────┬────────────
               ·                     ╰── it is not a host name
             7 │ methods = ["get", "FETCH"]
               ╰────
              help: write a name without a scheme and without a port: "shop.example", or "*.shop.example" for every name
                    below it
            MDG-MF-013

              × `methods` cannot be "get"
               ╭─[madang.toml:7:12]
             6 │ host = "https://shop.example:443"
             7 │ methods = ["get", "FETCH"]
               ·            ──┬──
               ·              ╰── it is not a method that a route can be for
             8 │ headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
               ╰────
              help: write "GET"
            MDG-MF-013

              × `methods` cannot be "FETCH"
               ╭─[madang.toml:7:19]
             6 │ host = "https://shop.example:443"
             7 │ methods = ["get", "FETCH"]
               ·                   ───┬───
               ·                      ╰── it is not a method that a route can be for
             8 │ headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
               ╰────
              help: a route can be for GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, QUERY, PROPFIND, PROPPATCH,
                    MKCOL, COPY, MOVE, LOCK, UNLOCK, REPORT, SEARCH
            MDG-MF-013

              × `headers` cannot have "x beta" for a name
               ╭─[madang.toml:8:13]
             7 │ methods = ["get", "FETCH"]
             8 │ headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
               ·             ────┬───
               ·                 ╰── it is not the name of a header
               ╰────
              help: write letters, digits and `-`, such as "x-beta"
            MDG-MF-013

              × `headers` cannot have "Host" for a name
               ╭─[madang.toml:8:29]
             7 │ methods = ["get", "FETCH"]
             8 │ headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
               ·                             ──┬─
               ·                               ╰── the host has a key of its own
               ╰────
              help: write host = "shop.example" in the route
            MDG-MF-013

              × `headers` cannot be " b"
               ╭─[madang.toml:8:48]
             7 │ methods = ["get", "FETCH"]
             8 │ headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
               ·                                                ──┬─
               ·                                                  ╰── it is not a value that a header can have
               ╰────
              help: write visible characters without spaces around them: the value is compared as a whole
            MDG-MF-013

              × the header `x-a` is named twice
               ╭─[madang.toml:8:71]
             7 │ methods = ["get", "FETCH"]
             8 │ headers = { "x beta" = "1", Host = "a", x-ok = " b", X-A = "1", x-a = "2" }
               ·                                                            ─┬─        ─┬─
               ·                                                             │          ╰── the second value
               ·                                                             ╰── the first
               ╰────
              help: names of headers are the same in upper and lower case: keep one
        "#]],
    );
}

#[test]
fn bad_weights() {
    refused(
        "[services.a]\nrun = \"a\"\n[[routes]]\npath = \"/a\"\nto = { a = 0 }\n[[routes]]\npath = \"/b\"\nto = {}\n[[routes]]\npath = \"/c\"\nto = { a = 1000001 }\n",
        expect![[r#"
            MDG-MF-014

              × the weights of the route /a are all zero
               ╭─[madang.toml:5:6]
             4 │ path = "/a"
             5 │ to = { a = 0 }
               ·      ────┬────
               ·          ╰── no request goes anywhere
             6 │ [[routes]]
               ╰────
              help: give at least one service a weight above 0, up to 1000000; its share is relative to the others
            MDG-MF-007

              × a route outside a service needs the key `to`
               ╭─[madang.toml:8:6]
             7 │ path = "/b"
             8 │ to = {}
               ·      ─┬
               ·       ╰── leads nowhere
             9 │ [[routes]]
               ╰────
              help: add `to`: the name of a service, or a table from services to weights: to = { legacy = 95, cart = 5 }
            MDG-MF-009

              × `to` cannot be 1000001
                ╭─[madang.toml:11:12]
             10 │ path = "/c"
             11 │ to = { a = 1000001 }
                ·            ───┬───
                ·               ╰── not within 0 and 1000000
                ╰────
              help: write a whole number from 0 to 1000000
        "#]],
    );
}

#[test]
fn unknown_service() {
    refused(
        r#"
[services.users]
run = "a"
calls = ["user", "mailer"]
[services.orders]
run = "a"
depends_on = ["users", "paymnets"]
calls = { uesrs = {} }
[services.payments]
run = "a"
[units.core]
run = "a"
services = ["Users", "payment"]
[[routes]]
path = "/a"
to = { orders = 1, oders = 2 }
"#,
        expect![[r#"
            MDG-MF-015

              × `calls` names the service "user", which does not exist
               ╭─[madang.toml:4:10]
             3 │ run = "a"
             4 │ calls = ["user", "mailer"]
               ·          ───┬──
               ·             ╰── no such service
             5 │ [services.orders]
               ╰────
              help: did you mean "users"? The services are orders, payments, users
            MDG-MF-015

              × `calls` names the service "mailer", which does not exist
               ╭─[madang.toml:4:18]
             3 │ run = "a"
             4 │ calls = ["user", "mailer"]
               ·                  ────┬───
               ·                      ╰── no such service
             5 │ [services.orders]
               ╰────
              help: the services are orders, payments, users
            MDG-MF-015

              × `depends_on` names the service "paymnets", which does not exist
               ╭─[madang.toml:7:24]
             6 │ run = "a"
             7 │ depends_on = ["users", "paymnets"]
               ·                        ─────┬────
               ·                             ╰── no such service
             8 │ calls = { uesrs = {} }
               ╰────
              help: did you mean "payments"? The services are orders, payments, users
            MDG-MF-015

              × `calls` names the service "uesrs", which does not exist
               ╭─[madang.toml:8:11]
             7 │ depends_on = ["users", "paymnets"]
             8 │ calls = { uesrs = {} }
               ·           ──┬──
               ·             ╰── no such service
             9 │ [services.payments]
               ╰────
              help: did you mean "users"? The services are orders, payments, users
            MDG-MF-008

              × `services` cannot be "Users"
                ╭─[madang.toml:13:13]
             12 │ run = "a"
             13 │ services = ["Users", "payment"]
                ·             ───┬───
                ·                ╰── a name starts with a letter from a to z
             14 │ [[routes]]
                ╰────
              help: write "users": 1 to 63 of a to z, 0 to 9 and `-`, a letter first
            MDG-MF-015

              × `services` names the service "payment", which does not exist
                ╭─[madang.toml:13:22]
             12 │ run = "a"
             13 │ services = ["Users", "payment"]
                ·                      ────┬────
                ·                          ╰── no such service
             14 │ [[routes]]
                ╰────
              help: did you mean "payments"? The services are orders, payments, users
            MDG-MF-015

              × `to` names the service "oders", which does not exist
                ╭─[madang.toml:16:20]
             15 │ path = "/a"
             16 │ to = { orders = 1, oders = 2 }
                ·                    ──┬──
                ·                      ╰── no such service
                ╰────
              help: did you mean "orders"? The services are orders, payments, users
        "#]],
    );
}

#[test]
fn names_that_a_broken_file_may_hold_are_not_called_unknown() {
    refused_files(
        &[
            ("madang.toml", "system.include = [\"a.toml\"]\n[services.b]\nrun = \"b\"\ncalls = [\"a\"]\n"),
            ("a.toml", "name = \"a\nrun = \"a\"\n"),
        ],
        expect![[r#"
            MDG-MF-003

              × a.toml is not TOML: invalid basic string
               ╭─[a.toml:1:9]
             1 │ name = "a
               ·         ┬
               ·         ╰── expected `"`
             2 │ run = "a"
               ╰────
              help: a manifest is TOML: `key = "text"`, `key = 3`, `[table]`; see https://toml.io
        "#]],
    );
}

#[test]
fn duplicate_service() {
    refused_files(
        &[
            ("madang.toml", "system.include = [\"*/service.toml\"]\n"),
            ("old/service.toml", "name = \"users\"\nrun = \"a\"\n"),
            ("users/service.toml", "# new\nname = \"users\"\nrun = \"a\"\n"),
        ],
        expect![[r#"
            MDG-MF-016

              × there are two services named "users"
               ╭─[users/service.toml:2:8]
             1 │ # new
             2 │ name = "users"
               ·        ───┬───
               ·           ╰── the second
             3 │ run = "a"
               ╰────
              help: rename one of them: a service's name is its address in the system

            Advice:
              ☞ the first, at old/service.toml:1
               ╭─[old/service.toml:1:8]
             1 │ name = "users"
               ·        ───┬───
               ·           ╰── the first
             2 │ run = "a"
               ╰────
        "#]],
    );
}

#[test]
fn port_taken() {
    refused(
        "[gateway]\nlisten = \"0.0.0.0:4000\"\n[services.a]\nrun = \"a\"\nlisten = 4000\n[services.b]\nrun = \"b\"\nport = 4001\n[services.c]\nrun = \"c\"\nport = 4001\n",
        expect![[r#"
            MDG-MF-017

              × port 4000 is wanted by the gateway and by Madang's listener for a
               ╭─[madang.toml:5:10]
             1 │ [gateway]
             2 │ listen = "0.0.0.0:4000"
               ·          ───────┬──────
               ·                 ╰── wanted by the gateway
             3 │ [services.a]
             4 │ run = "a"
             5 │ listen = 4000
               ·          ──┬─
               ·            ╰── wanted by Madang's listener for a
             6 │ [services.b]
               ╰────
              help: give one of them another port
            MDG-MF-017

              × port 4001 is wanted by the program of b and by the program of c
                ╭─[madang.toml:11:8]
              7 │ run = "b"
              8 │ port = 4001
                ·        ──┬─
                ·          ╰── wanted by the program of b
              9 │ [services.c]
             10 │ run = "c"
             11 │ port = 4001
                ·        ──┬─
                ·          ╰── wanted by the program of c
                ╰────
              help: give one of them another port
        "#]],
    );
    refused(
        "[services.a]\nrun = \"a\"\nport = 3000\n",
        expect![[r#"
            MDG-MF-017

              × port 3000 is wanted by the gateway and by the program of a
               ╭─[madang.toml:3:8]
             2 │ run = "a"
             3 │ port = 3000
               ·        ──┬─
               ·          ╰── wanted by the program of a
               ╰────
              help: give one of them another port: the gateway has it unless [gateway] `listen` says otherwise
        "#]],
    );
}

/// A `listen` that was meant for the gateway, below a header that it does not belong to.
#[test]
fn port_taken_by_a_misplaced_key() {
    refused(
        "[gateway]\n[services.a]\nrun = \"a\"\n\nlisten = \"127.0.0.1:3000\"\n",
        expect![[r#"
        MDG-MF-017

          × port 3000 is wanted by the gateway and by Madang's listener for a
           ╭─[madang.toml:5:10]
         4 │
         5 │ listen = "127.0.0.1:3000"
           ·          ────────┬───────
           ·                  ╰── wanted by Madang's listener for a
           ╰────
          help: give one of them another port; if this `listen` was meant for the gateway, move it under [gateway]:
                in TOML a key belongs to the last table header above it
    "#]],
    );
}

#[test]
fn fixed_port_replicas() {
    refused(
        "[services.a]\nrun = \"a\"\nport = 4000\nreplicas = 2\n",
        expect![[r#"
            MDG-MF-018

              × 2 replicas of "a" cannot all listen on port 4000
               ╭─[madang.toml:4:12]
             2 │ run = "a"
             3 │ port = 4000
               ·        ──┬─
               ·          ╰── one port for all of them
             4 │ replicas = 2
               ·            ┬
               ·            ╰── more than one instance
               ╰────
              help: write `listen = 4000` instead of `port = 4000` and let the program read PORT, or keep one replica
        "#]],
    );
}

#[test]
fn listen_is_port() {
    refused(
        "[services.a]\nrun = \"a\"\nport = 4000\nlisten = 4000\n",
        expect![[r#"
            MDG-MF-019

              × `listen` and `port` are both 4000, but two processes cannot share a port
               ╭─[madang.toml:4:10]
             2 │ run = "a"
             3 │ port = 4000
               ·        ──┬─
               ·          ╰── wanted by the program of a
             4 │ listen = 4000
               ·          ──┬─
               ·            ╰── wanted by Madang's listener for a
               ╰────
              help: `listen` is Madang's port, `port` the program's: keep `listen` and remove `port` if the program
                    reads PORT, else keep `port` alone
        "#]],
    );
}

#[test]
fn dependency_cycle() {
    refused(
        "[services.a]\nrun = \"a\"\ndepends_on = [\"b\"]\n[services.b]\nrun = \"b\"\ndepends_on = [\"d\", \"c\"]\n[services.c]\nrun = \"c\"\ndepends_on = [\"a\"]\n[services.d]\nrun = \"d\"\n[services.me]\nrun = \"m\"\ndepends_on = [\"me\"]\n",
        expect![[r#"
            MDG-MF-020

              × each waits for the next to be ready: a → b → c → a
                ╭─[madang.toml:3:15]
              2 │ run = "a"
              3 │ depends_on = ["b"]
                ·               ─┬─
                ·                ╰── waits for b
              4 │ [services.b]
              5 │ run = "b"
              6 │ depends_on = ["d", "c"]
                ·                    ─┬─
                ·                     ╰── waits for c
              7 │ [services.c]
              8 │ run = "c"
              9 │ depends_on = ["a"]
                ·               ─┬─
                ·                ╰── waits for a
             10 │ [services.d]
                ╰────
              help: remove one of these: a service that only calls another names it in `calls`, which says nothing about
                    the order
            MDG-MF-020

              × each waits for the next to be ready: me → me
                ╭─[madang.toml:14:15]
             13 │ run = "m"
             14 │ depends_on = ["me"]
                ·               ──┬─
                ·                 ╰── waits for me
                ╰────
              help: remove one of these: a service that only calls another names it in `calls`, which says nothing about
                    the order
        "#]],
    );
    // Only the placement closes this one.
    refused(
        "[services.a]\nrun = \"a\"\ndepends_on = [\"b\"]\n[services.b]\nrun = \"b\"\ndepends_on = [\"c\"]\n[services.c]\nrun = \"c\"\n[units.ac]\nservices = [\"a\", \"c\"]\nrun = \"ac\"\n",
        expect![[r#"
            MDG-MF-020

              × each waits for the next to be ready: ac → b → ac
               ╭─[madang.toml:3:15]
             2 │ run = "a"
             3 │ depends_on = ["b"]
               ·               ─┬─
               ·                ╰── waits for b
             4 │ [services.b]
             5 │ run = "b"
             6 │ depends_on = ["c"]
               ·               ─┬─
               ·                ╰── waits for ac
             7 │ [services.c]
               ╰────
              help: remove one of these: a service that only calls another names it in `calls`, which says nothing about
                    the order
        "#]],
    );
}

#[test]
fn unreachable_route() {
    refused(
        r#"
[services.a]
run = "a"
routes = ["/a/{id}", "/b"]
[services.b]
run = "b"
routes = ["/a/{name}"]
[[routes]]
path = "/b"
host = "Shop.example"
methods = ["GET", "POST"]
headers = { X-Beta = "1" }
to = "a"
[[routes]]
path = "/b"
host = "shop.example"
methods = ["POST"]
headers = { x-beta = "1" }
to = "b"
"#,
        expect![[r#"
            MDG-MF-021

              × the route /a/{name} can never match
               ╭─[madang.toml:7:11]
             3 │ run = "a"
             4 │ routes = ["/a/{id}", "/b"]
               ·           ────┬────
               ·               ╰── takes all of its requests first
             5 │ [services.b]
             6 │ run = "b"
             7 │ routes = ["/a/{name}"]
               ·           ─────┬─────
               ·                ╰── never matches
             8 │ [[routes]]
               ╰────
              help: of two routes for the same requests the first in the order of the files wins: remove one, or tell
                    them apart by `host`, `methods` or `headers`; to divide requests, write weights: to = { a = 95, b =
                    5 }
            MDG-MF-021

              × the route /b can never match
                ╭─[madang.toml:15:8]
              8 │ [[routes]]
              9 │ path = "/b"
                ·        ──┬─
                ·          ╰── takes all of its requests first
             10 │ host = "Shop.example"
             11 │ methods = ["GET", "POST"]
             12 │ headers = { X-Beta = "1" }
             13 │ to = "a"
             14 │ [[routes]]
             15 │ path = "/b"
                ·        ──┬─
                ·          ╰── never matches
             16 │ host = "shop.example"
                ╰────
              help: of two routes for the same requests the first in the order of the files wins: remove one, or tell
                    them apart by `host`, `methods` or `headers`; to divide requests, write weights: to = { a = 95, b =
                    5 }
        "#]],
    );
}

#[test]
fn shared_database() {
    refused_files(
        &[
            (
                "madang.toml",
                "system.include = [\"*/service.toml\"]\n[services.c]\nrun = \"c\"\ndatabase = \"postgres://a:x@DB:5432/shop\"\n[services.d]\nrun = \"d\"\ndatabase = \"postgresql://b@db/shop?sslmode=off\"\n",
            ),
            ("a/service.toml", "name = \"a\"\nrun = \"a\"\ndatabase = \"sqlite\"\n"),
            ("b/service.toml", "name = \"b\"\nrun = \"b\"\ndatabase = \"sqlite:../.madang/data/a.db\"\n"),
        ],
        expect![[r#"
            MDG-MF-022

              × c and d use the same database
               ╭─[madang.toml:7:12]
             3 │ run = "c"
             4 │ database = "postgres://a:x@DB:5432/shop"
               ·            ──────────────┬──────────────
               ·                          ╰── c's
             5 │ [services.d]
             6 │ run = "d"
             7 │ database = "postgresql://b@db/shop?sslmode=off"
               ·            ──────────────────┬─────────────────
               ·                              ╰── d's
               ╰────
              help: give each service its own and let one ask the other over its API: write "sqlite" or "postgres" and
                    Madang names it after the service
            MDG-MF-022

              × a and b use the same database
               ╭─[b/service.toml:3:12]
             2 │ run = "b"
             3 │ database = "sqlite:../.madang/data/a.db"
               ·            ──────────────┬──────────────
               ·                          ╰── b's
               ╰────
              help: give each service its own and let one ask the other over its API: write "sqlite" or "postgres" and
                    Madang names it after the service

            Advice:
              ☞ a's, at a/service.toml:3
               ╭─[a/service.toml:3:12]
             2 │ run = "a"
             3 │ database = "sqlite"
               ·            ────┬───
               ·                ╰── a's
               ╰────
        "#]],
    );
}

#[test]
fn service_in_two_units() {
    refused(
        "[services.a]\nrun = \"a\"\n[units.x]\nservices = [\"a\"]\nrun = \"x\"\n[units.y]\nservices = [\"a\"]\nrun = \"y\"\n",
        expect![[r#"
            MDG-MF-023

              × the service "a" is placed in two units, x and y
               ╭─[madang.toml:7:13]
             3 │ [units.x]
             4 │ services = ["a"]
               ·             ─┬─
               ·              ╰── placed here
             5 │ run = "x"
             6 │ [units.y]
             7 │ services = ["a"]
               ·             ─┬─
               ·              ╰── placed again
             8 │ run = "y"
               ╰────
              help: a service runs in one unit: remove it from one of them
        "#]],
    );
}

#[test]
fn empty_unit() {
    refused(
        "[units.x]\nservices = []\nrun = \"x\"\n",
        expect![[r#"
            MDG-MF-024

              × the unit "x" hosts no service
               ╭─[madang.toml:2:12]
             1 │ [units.x]
             2 │ services = []
               ·            ─┬
               ·             ╰── no service
             3 │ run = "x"
               ╰────
              help: name the services that share this process, or remove the unit
        "#]],
    );
}

#[test]
fn not_runnable() {
    refused(
        "[services.a]\nport = 4000\n[services.b]\n[units.x]\nservices = [\"b\"]\n",
        expect![[r#"
            MDG-MF-025

              × nothing says how the service "a" runs
               ╭─[madang.toml:1:11]
             1 │ [services.a]
               ·           ┬
               ·           ╰── has no `run`, and no unit hosts it
             2 │ port = 4000
               ╰────
              help: add `run`, the command that starts it, or name it in the `services` of a [units.NAME]
            MDG-MF-025

              × nothing says how the unit "x" runs
               ╭─[madang.toml:4:8]
             3 │ [services.b]
             4 │ [units.x]
               ·        ┬
               ·        ╰── has no `run`
             5 │ services = ["b"]
               ╰────
              help: add `run`, the command that starts the process of all its services
        "#]],
    );
}

#[test]
fn include_nothing() {
    refused(
        "[system]\ninclude = [\"*/service.toml\", \"services.toml\"]\n",
        expect![[r#"
            MDG-MF-026

              × no file matches "*/service.toml"
               ╭─[madang.toml:2:12]
             1 │ [system]
             2 │ include = ["*/service.toml", "services.toml"]
               ·            ────────┬───────
               ·                    ╰── matches nothing
               ╰────
              help: it is looked for in /shop; `*` stands for any part of one name, such as "*/service.toml"
            MDG-MF-026

              × no file matches "services.toml"
               ╭─[madang.toml:2:30]
             1 │ [system]
             2 │ include = ["*/service.toml", "services.toml"]
               ·                              ───────┬───────
               ·                                     ╰── matches nothing
               ╰────
              help: it is looked for in /shop; `*` stands for any part of one name, such as "*/service.toml"
        "#]],
    );
}

#[test]
fn no_postgres() {
    refused(
        "[services.a]\nrun = \"a\"\ndatabase = \"postgres\"\n",
        expect![[r#"
            MDG-MF-027

              × the database of "a" is on a server that nothing names
               ╭─[madang.toml:3:12]
             2 │ run = "a"
             3 │ database = "postgres"
               ·            ─────┬────
               ·                 ╰── on which server?
               ╰────
              help: add the server's URL to [system] of madang.toml: postgres = "postgres://user@127.0.0.1:5432"
        "#]],
    );
}

#[test]
fn no_port() {
    refused(
        "[services.w]\nrun = \"w\"\nport = false\nlisten = 4000\nhealth = \"/healthz\"\nroutes = [\"/w\"]\n[services.a]\nrun = \"a\"\ncalls = [\"w\"]\n",
        expect![[r#"
            MDG-MF-028

              × requests to `listen` go to w, but "w" has no port
               ╭─[madang.toml:4:10]
             2 │ run = "w"
             3 │ port = false
               ·        ──┬──
               ·          ╰── a worker without a port
             4 │ listen = 4000
               ·          ──┬─
               ·            ╰── nothing listens there
             5 │ health = "/healthz"
               ╰────
              help: remove `port = false` if the program serves HTTP, or remove this
            MDG-MF-028

              × `health` is asked over HTTP, but "w" has no port
               ╭─[madang.toml:5:10]
             2 │ run = "w"
             3 │ port = false
               ·        ──┬──
               ·          ╰── a worker without a port
             4 │ listen = 4000
             5 │ health = "/healthz"
               ·          ─────┬────
               ·               ╰── nothing listens there
             6 │ routes = ["/w"]
               ╰────
              help: remove `port = false` if the program serves HTTP, or remove this
            MDG-MF-028

              × a route leads to w, but "w" has no port
               ╭─[madang.toml:6:11]
             2 │ run = "w"
             3 │ port = false
               ·        ──┬──
               ·          ╰── a worker without a port
             4 │ listen = 4000
             5 │ health = "/healthz"
             6 │ routes = ["/w"]
               ·           ──┬─
               ·             ╰── nothing listens there
             7 │ [services.a]
               ╰────
              help: remove `port = false` if the program serves HTTP, or remove this
            MDG-MF-028

              × calls go to w, but "w" has no port
               ╭─[madang.toml:3:8]
             2 │ run = "w"
             3 │ port = false
               ·        ──┬──
               ·          ╰── a worker without a port
             4 │ listen = 4000
               ╰────
               ╭─[madang.toml:9:10]
             8 │ run = "a"
             9 │ calls = ["w"]
               ·          ─┬─
               ·           ╰── nothing listens there
               ╰────
              help: remove `port = false` if the program serves HTTP, or remove this
        "#]],
    );
}

#[test]
fn duplicate_unit() {
    refused(
        "[services.a]\nrun = \"a\"\n[services.b]\nrun = \"b\"\n[units.a]\nservices = [\"b\"]\nrun = \"a\"\n",
        expect![[r#"
            MDG-MF-029

              × "a" is a unit and a service that is its own unit
               ╭─[madang.toml:1:11]
             1 │ [services.a]
               ·           ┬
               ·           ╰── this service is a unit of the same name
             2 │ run = "a"
               ╰────
               ╭─[madang.toml:5:8]
             4 │ run = "b"
             5 │ [units.a]
               ·        ┬
               ·        ╰── this unit
             6 │ services = ["b"]
               ╰────
              help: rename the unit, or name the service in its `services`
        "#]],
    );
}

#[test]
fn env_conflict() {
    refused(
        "[services.a]\nenv = { LOG = \"info\", A = \"1\", B = \"1\" }\n[services.b]\nenv = { LOG = \"debug\", A = \"1\", B = \"2\" }\n[units.ab]\nservices = [\"a\", \"b\"]\nrun = \"ab\"\nenv = { B = \"3\" }\n",
        expect![[r#"
            MDG-MF-030

              × a and b share a process but not the value of LOG
               ╭─[madang.toml:4:15]
             1 │ [services.a]
             2 │ env = { LOG = "info", A = "1", B = "1" }
               ·               ───┬──
               ·                  ╰── a's
             3 │ [services.b]
             4 │ env = { LOG = "debug", A = "1", B = "2" }
               ·               ───┬───
               ·                  ╰── b's
             5 │ [units.ab]
               ╰────
              help: the process has one LOG: set it in `env` of [units.ab], which decides
        "#]],
    );
}

#[test]
fn a_secret_in_a_variable_is_not_shown() {
    let manifest = "[services.a]\nrun = \"a\"\ndatabase = \"mysql://root:${PASSWORD}@db/a\"\nenv = { A = \"${PASSWORD}\\u0000\" }\n";
    let errors = Memory::new([("madang.toml", manifest)]).load().unwrap_err();
    let told = rendered(&errors);
    assert_eq!(errors.iter().count(), 2);
    assert!(told.contains("${PASSWORD}") && !told.contains("hunter2"), "{told}");
}

#[test]
fn very_many_problems_are_counted_and_the_first_are_shown() {
    let manifest: String = (0..500).map(|n| format!("key-{n} = {n}\n")).collect();
    let errors = Memory::new([("madang.toml", manifest.as_str())]).load().unwrap_err();
    assert_eq!(errors.iter().count(), 100);
    assert_eq!(errors.to_string(), "the manifest has 500 problems; the first 100 are");
}

/// Every code is the answer to a test above, has a page that starts with it, and every page has a code.
#[test]
fn every_code_has_a_message_and_a_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in Code::ALL {
        assert!(
            include_str!("errors.rs").contains(&format!("{}\n", code.id)) || *code == Code::NO_MANIFEST,
            "{} has no snapshot",
            code.id
        );
        let page = fs::read_to_string(pages.join(format!("{}.md", code.id))).unwrap_or_default();
        let heading = format!("# {}: {}\n", code.id, code.title);
        assert!(page.starts_with(&heading), "docs/errors/{}.md should start with {heading:?}", code.id);
    }
    for page in fs::read_dir(&pages).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        if let Some(id) = name.strip_suffix(".md").filter(|id| id.starts_with("MDG-MF-")) {
            assert!(Code::ALL.iter().any(|code| code.id == id), "{name} is the page of no code");
        }
    }
}
