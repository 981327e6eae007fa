//! What is said of services that run elsewhere.

use expect_test::expect;

use crate::manifest::tests::refused;

#[test]
fn a_program_of_its_own() {
    refused(
        "[services.mail]\nowner = \"office\"\nurl = \"https://mail.example\"\nrun = \"mail\"\nreplicas = 2\ndatabase = \"sqlite\"\ntypo = 1\n",
        expect![[r#"
            MDG-MF-031

              × "mail" runs elsewhere and cannot have `run`, `replicas`, `database`
               ╭─[madang.toml:4:1]
             2 │ owner = "office"
             3 │ url = "https://mail.example"
               · ─┬─
               ·  ╰── runs there
             4 │ run = "mail"
               · ─┬─
               ·  ╰── about a program that Madang runs
             5 │ replicas = 2
               · ────┬───
               ·     ╰── this too
             6 │ database = "sqlite"
               · ────┬───
               ·     ╰── this too
             7 │ typo = 1
               ╰────
              help: remove `url` if Madang is to run it; otherwise keep of the keys of a service only `url`, `owner`,
                    `domain`, `protocol`, `listen`, `timeout`, `policy`, `edge`, `require` and `routes`
            MDG-MF-004

              × `typo` is not a key of a service
               ╭─[madang.toml:7:1]
             6 │ database = "sqlite"
             7 │ typo = 1
               · ──┬─
               ·   ╰── unknown key
               ╰────
              help: the keys of a service are `owner`, `domain`, `url`, `listen`, `protocol`, `timeout`, `policy`,
                    `edge`, `calls`, `database`, `require`, `routes`, `run`, `build`, `health`, `port`, `replicas`,
                    `env`, `depends_on`, `requires`
        "#]],
    );
}

#[test]
fn placed_in_a_unit() {
    refused(
        "[services.mail]\nurl = \"https://mail.example\"\n[units.core]\nservices = [\"mail\"]\nrun = \"core\"\n",
        expect![[r#"
            MDG-MF-031

              × "mail" runs elsewhere and cannot be placed in a unit
               ╭─[madang.toml:4:13]
             1 │ [services.mail]
             2 │ url = "https://mail.example"
               · ─┬─
               ·  ╰── runs there
             3 │ [units.core]
             4 │ services = ["mail"]
               ·             ───┬──
               ·                ╰── placed here
             5 │ run = "core"
               ╰────
              help: remove its `url` if the unit's program serves it, or else remove it from `services`
        "#]],
    );
}

#[test]
fn waited_for() {
    refused(
        "[services.mail]\nurl = \"https://mail.example\"\n[services.a]\nrun = \"a\"\ndepends_on = [\"mail\"]\n",
        expect![[r#"
            MDG-MF-031

              × nothing can wait for "mail", which runs elsewhere
               ╭─[madang.toml:5:15]
             1 │ [services.mail]
             2 │ url = "https://mail.example"
               · ─┬─
               ·  ╰── whether it is ready is known there
             3 │ [services.a]
             4 │ run = "a"
             5 │ depends_on = ["mail"]
               ·               ───┬──
               ·                  ╰── waits for it to be ready
               ╰────
              help: name it in `calls` instead: a call waits, is tried again and fails within its time limit
        "#]],
    );
}

#[test]
fn a_url_that_is_none() {
    let manifest = [
        "mail.example",
        "https://me:${PASSWORD}@mail.example",
        "https://mail.example/v1",
        "http://mail.example:x",
        "https://",
    ];
    let services = manifest.iter().enumerate();
    let services: String = services.map(|(n, url)| format!("[services.m{n}]\nurl = \"{url}\"\n")).collect();
    refused(
        &services,
        expect![[r#"
        MDG-MF-009

          × `url` cannot be "mail.example"
           ╭─[madang.toml:2:7]
         1 │ [services.m0]
         2 │ url = "mail.example"
           ·       ───────┬──────
           ·              ╰── it begins with neither http:// nor https://
         3 │ [services.m1]
           ╰────
          help: write the scheme and the host, such as "https://mail.example" or "http://10.0.0.7:8080"
        MDG-MF-009

          × `url` cannot be "https://me:${PASSWORD}@mail.example"
           ╭─[madang.toml:4:7]
         3 │ [services.m1]
         4 │ url = "https://me:${PASSWORD}@mail.example"
           ·       ──────────────────┬──────────────────
           ·                         ╰── it holds a user or a password
         5 │ [services.m2]
           ╰────
          help: leave them out, such as "https://mail.example": the caller sends what the service asks for, in a
                header
        MDG-MF-009

          × `url` cannot be "https://mail.example/v1"
           ╭─[madang.toml:6:7]
         5 │ [services.m2]
         6 │ url = "https://mail.example/v1"
           ·       ────────────┬────────────
           ·                   ╰── it goes on after the host
         7 │ [services.m3]
           ╰────
          help: name the server alone, such as "https://mail.example": each call brings its own path
        MDG-MF-009

          × `url` cannot be "http://mail.example:x"
           ╭─[madang.toml:8:7]
         7 │ [services.m3]
         8 │ url = "http://mail.example:x"
           ·       ───────────┬───────────
           ·                  ╰── its port is not a number from 1 to 65535
         9 │ [services.m4]
           ╰────
          help: write the scheme and the host, such as "https://mail.example" or "http://10.0.0.7:8080"
        MDG-MF-009

          × `url` cannot be "https://"
            ╭─[madang.toml:10:7]
          9 │ [services.m4]
         10 │ url = "https://"
            ·       ─────┬────
            ·            ╰── it names no host
            ╰────
          help: write the scheme and the host, such as "https://mail.example" or "http://10.0.0.7:8080"
    "#]],
    );
}

/// Madang's listener for it is one like any other.
#[test]
fn a_port_that_is_taken() {
    refused(
        "[services.mail]\nurl = \"https://mail.example\"\nlisten = 4000\n[services.a]\nrun = \"a\"\nport = 4000\n",
        expect![[r#"
            MDG-MF-017

              × port 4000 is wanted by the program of a and by Madang's listener for mail
               ╭─[madang.toml:3:10]
             2 │ url = "https://mail.example"
             3 │ listen = 4000
               ·          ──┬─
               ·            ╰── wanted by Madang's listener for mail
             4 │ [services.a]
             5 │ run = "a"
             6 │ port = 4000
               ·        ──┬─
               ·          ╰── wanted by the program of a
               ╰────
              help: give one of them another port
        "#]],
    );
}

#[test]
fn a_program_that_others_start() {
    refused(
        "[services.pos]\nrun = false\nreplicas = 2\ncalls = [\"pos\"]\n[services.a]\nrun = \"a\"\ndepends_on = [\"pos\"]\n[units.core]\nservices = [\"pos\"]\nrun = false\n",
        expect![[r#"
            MDG-MF-031

              × "pos" runs elsewhere and cannot have `replicas`
               ╭─[madang.toml:3:1]
             1 │ [services.pos]
             2 │ run = false
               · ─┬─
               ·  ╰── others start it
             3 │ replicas = 2
               · ────┬───
               ·     ╰── about a program that Madang runs
             4 │ calls = ["pos"]
               ╰────
              help: write the command in `run` if Madang is to run it; otherwise keep of the keys of a service only
                    `run`, `owner`, `domain`, `protocol`, `listen`, `timeout`, `policy`, `edge`, `require`, `calls` and
                    `routes`
            MDG-MF-034

              × "pos" declares calls to itself
               ╭─[madang.toml:4:10]
             3 │ replicas = 2
             4 │ calls = ["pos"]
               ·          ──┬──
               ·            ╰── the same service
             5 │ [services.a]
               ╰────
              help: remove it: what a service needs of itself it has in its own process, and other instances of it share
                    its database
            MDG-MF-031

              × nothing can wait for "pos", which runs elsewhere
               ╭─[madang.toml:2:1]
             1 │ [services.pos]
             2 │ run = false
               · ─┬─
               ·  ╰── others start it
             3 │ replicas = 2
               ╰────
               ╭─[madang.toml:7:15]
             6 │ run = "a"
             7 │ depends_on = ["pos"]
               ·               ──┬──
               ·                 ╰── waits for it to be ready
             8 │ [units.core]
               ╰────
              help: name it in `calls` instead: a call waits, is tried again and fails within its time limit
            MDG-MF-031

              × "pos" runs elsewhere and cannot be placed in a unit
               ╭─[madang.toml:2:1]
             1 │ [services.pos]
             2 │ run = false
               · ─┬─
               ·  ╰── others start it
             3 │ replicas = 2
               ╰────
                ╭─[madang.toml:9:13]
              8 │ [units.core]
              9 │ services = ["pos"]
                ·             ──┬──
                ·               ╰── placed here
             10 │ run = false
                ╰────
              help: remove its `run = false` if the unit's program serves it, or else remove it from `services`
            MDG-MF-006

              × `run` takes a text
                ╭─[madang.toml:10:7]
              9 │ services = ["pos"]
             10 │ run = false
                ·       ──┬──
                ·         ╰── this is `false`
                ╰────
              help: write it in quotes: run = "false"
        "#]],
    );
}
