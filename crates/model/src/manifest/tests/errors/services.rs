//! What is said of services, of units, and of how they hang together.

use expect_test::expect;

use crate::manifest::tests::{refused, refused_files};

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
