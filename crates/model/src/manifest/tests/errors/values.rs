//! What is said of values that their keys do not take.

use std::path::Path;

use expect_test::expect;

use crate::manifest::{
    load_from,
    tests::{Memory, env, refused, refused_files, rendered},
};

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
    let errors = load_from(Path::new("/2/madang.toml"), None, &env, &nameless).unwrap_err();
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
              help: did you mean "http"? `protocol` takes "http" or "h2c" or "grpc"
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
            MDG-MF-038

              × there is no secret "pay"
               ╭─[madang.toml:4:16]
             3 │ build = "b ${self.port}"
             4 │ env = { KEY = "${secret.pay}", HOST = "${self.host}" }
               ·                ──────┬──────
               ·                      ╰── is not kept
               ╰────
              help: `madang secret set pay` asks for it and keeps it sealed
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
fn a_secret_in_a_variable_is_not_shown() {
    let manifest = "[services.a]\nrun = \"a\"\ndatabase = \"mysql://root:${PASSWORD}@db/a\"\nenv = { A = \"${PASSWORD}\\u0000\" }\n";
    let errors = Memory::new([("madang.toml", manifest)]).load().unwrap_err();
    let told = rendered(&errors);
    assert_eq!(errors.iter().count(), 2);
    assert!(told.contains("${PASSWORD}") && !told.contains("hunter2"), "{told}");
}

#[test]
fn required_programs() {
    refused(
        "[services.a]\nrun = \"java Main.java\"\nrequires = [\"java Main.java\", \"\"]\n[services.b]\nrun = \"b\"\nrequires = \"java\"\n[services.c]\nurl = \"http://c\"\nrequires = [\"java\"]\n",
        expect![[r#"
            MDG-MF-009

              × `requires` cannot be "java Main.java"
               ╭─[madang.toml:3:13]
             2 │ run = "java Main.java"
             3 │ requires = ["java Main.java", ""]
               ·             ────────┬───────
               ·                     ╰── it is not the name of one program
             4 │ [services.b]
               ╰────
              help: write a name that is looked up in PATH, such as "java", or a path from the folder of this file, each
                    without arguments
            MDG-MF-009

              × `requires` cannot be ""
               ╭─[madang.toml:3:31]
             2 │ run = "java Main.java"
             3 │ requires = ["java Main.java", ""]
               ·                               ─┬
               ·                                ╰── it is not the name of one program
             4 │ [services.b]
               ╰────
              help: write a name that is looked up in PATH, such as "java", or a path from the folder of this file, each
                    without arguments
            MDG-MF-006

              × `requires` takes an array
               ╭─[madang.toml:6:12]
             5 │ run = "b"
             6 │ requires = "java"
               ·            ───┬──
               ·               ╰── this is a text
             7 │ [services.c]
               ╰────
              help: write an array: requires = ["java"]
            MDG-MF-031

              × "c" runs elsewhere and cannot have `requires`
               ╭─[madang.toml:9:1]
             7 │ [services.c]
             8 │ url = "http://c"
               · ─┬─
               ·  ╰── runs there
             9 │ requires = ["java"]
               · ────┬───
               ·     ╰── about a program that Madang runs
               ╰────
              help: remove `url` if Madang is to run it; otherwise keep of the keys of a service only `url`, `owner`,
                    `domain`, `protocol`, `listen`, `timeout`, `policy`, `edge`, `require` and `routes`
        "#]],
    );
}

#[test]
fn a_domain_is_a_name() {
    refused(
        "[services.users]\nrun = \"a\"\ndomain = \"Customer Care\"\n",
        expect![[r#"
        MDG-MF-008

          × `domain` cannot be "Customer Care"
           ╭─[madang.toml:3:10]
         2 │ run = "a"
         3 │ domain = "Customer Care"
           ·          ───────┬───────
           ·                 ╰── a name starts with a letter from a to z
           ╰────
          help: write "customer-care": 1 to 63 of a to z, 0 to 9 and `-`, a letter first
    "#]],
    );
}
