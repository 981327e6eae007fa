//! What is said of ports.

use expect_test::expect;

use crate::{
    AdminListener, PortRule,
    manifest::tests::{loaded, refused},
};

#[test]
fn the_dashboard_is_for_this_machine_and_its_port_nobody_elses() {
    refused(
        "[gateway]\nlisten = 4000\n[admin]\nlisten = \"0.0.0.0:4000\"\n[services.a]\nrun = \"a\"\n",
        expect![[r#"
            MDG-MF-009

              × `listen` cannot be "0.0.0.0:4000"
               ╭─[madang.toml:4:10]
             3 │ [admin]
             4 │ listen = "0.0.0.0:4000"
               ·          ───────┬──────
               ·                 ╰── whoever reaches it over the network could try to rule the system
             5 │ [services.a]
               ╰────
              help: write an address of this machine alone ("127.0.0.1:3900", "[::1]:3900"), a port, or false; from
                    elsewhere reach it through SSH: `ssh -L 3900:127.0.0.1:3900 HOST`
        "#]],
    );
    refused(
        "[gateway]\nlisten = 4000\n[admin]\nlisten = 4000\n[services.a]\nrun = \"a\"\n",
        expect![[r#"
            MDG-MF-017

              × port 4000 is wanted by the gateway and by the dashboard
               ╭─[madang.toml:4:10]
             1 │ [gateway]
             2 │ listen = 4000
               ·          ──┬─
               ·            ╰── wanted by the gateway
             3 │ [admin]
             4 │ listen = 4000
               ·          ──┬─
               ·            ╰── wanted by the dashboard
             5 │ [services.a]
               ╰────
              help: give one of them another port
        "#]],
    );
    let admin =
        |value: &str| loaded(&format!("[admin]\nlisten = {value}\n[services.a]\nrun = \"a\"\n")).system.admin;
    assert_eq!(admin("false"), AdminListener::Off);
    assert_eq!(admin("4000"), AdminListener::At(([127, 0, 0, 1], 4000).into()));
    assert_eq!(admin("\"[::1]:0\""), AdminListener::At("[::1]:0".parse().unwrap()));
    assert_eq!(loaded("services.a.run = \"a\"\n").system.admin, AdminListener::Usual);
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
fn a_worker_is_told_no_port() {
    refused(
        "[services.w]\nrun = \"w --port ${self.port}\"\nport = false\nenv = { NAME = \"${self.unit}\", AT = \":${self.port}\" }\n",
        expect![[r#"
            MDG-MF-028

              × `run` has a port in it, but "w" has no port
               ╭─[madang.toml:2:17]
             1 │ [services.w]
             2 │ run = "w --port ${self.port}"
               ·                 ──────┬─────
               ·                       ╰── nothing listens there
             3 │ port = false
               ·        ──┬──
               ·          ╰── a worker without a port
             4 │ env = { NAME = "${self.unit}", AT = ":${self.port}" }
               ╰────
              help: remove `port = false` if the program serves HTTP, or remove this
            MDG-MF-028

              × `env` has a port in it, but "w" has no port
               ╭─[madang.toml:4:39]
             2 │ run = "w --port ${self.port}"
             3 │ port = false
               ·        ──┬──
               ·          ╰── a worker without a port
             4 │ env = { NAME = "${self.unit}", AT = ":${self.port}" }
               ·                                       ──────┬─────
               ·                                             ╰── nothing listens there
               ╰────
              help: remove `port = false` if the program serves HTTP, or remove this
        "#]],
    );
}

/// Madang listens there, and each instance on a port of its own.
#[test]
fn listen_with_replicas_is_fine() {
    let system = loaded("[services.a]\nrun = \"a\"\nlisten = 4000\nreplicas = 2\n").system;
    assert_eq!(system.services["a"].listen, Some(([127, 0, 0, 1], 4000).into()));
    assert_eq!((system.units["a"].port, system.units["a"].replicas), (PortRule::Assigned, 2));
}
