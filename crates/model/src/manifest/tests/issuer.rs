//! The built-in issuer and log-in at the gateway, as the manifest says them.

use std::time::Duration;

use super::{loaded, refused};
use crate::{Grant, Login, OwnIssuer, Require};
use expect_test::expect;

const MANIFEST: &str = r#"
[system]
name = "shop"

[issuer]
users = "users"

[issuer.clients.app]
redirects = ["http://127.0.0.1:8000/back"]
scopes = ["orders"]

[gateway]
auth = { built_in = true }
login = { scope = "orders" }

[services.users]
run = "users"
routes = ["/users", { path = "/me", require = "optional" }]
"#;

#[test]
fn few_lines_say_it_all() {
    let system = loaded(MANIFEST).system;
    let issuer = system.issuer.as_ref().unwrap();
    assert_eq!((issuer.listen, issuer.lifetime), (OwnIssuer::LISTEN, Duration::from_secs(600)));
    let app = &issuer.clients["app"];
    assert!(app.secret.is_none() && app.grants.iter().eq([&Grant::AuthorizationCode, &Grant::RefreshToken]));
    let taken = &system.gateway.auth.as_ref().unwrap().issuers[0];
    assert_eq!(
        (taken.issuer.as_str(), taken.audience.first().unwrap().as_str()),
        ("http://127.0.0.1:3010", "shop")
    );
    assert_eq!(taken.jwks.as_ref().unwrap().to_string(), "http://127.0.0.1:3010/keys");
    let login = system.gateway.login.as_ref().unwrap();
    assert_eq!(
        (login.issuer.as_str(), login.url.to_string().as_str()),
        ("http://127.0.0.1:3010", "http://127.0.0.1:3000")
    );
    assert_eq!((login.client.as_ref(), login.session), (None, Login::SESSION));
    let users = "users".parse().unwrap();
    let optional = system.routes.iter().find(|route| route.path == "/me").unwrap();
    assert_eq!(system.require(Some(optional), &users), Require::Optional);
    let open = loaded("[services.a]\nrun = \"a\"\n").system;
    assert!(open.issuer.is_none() && open.gateway.login.is_none());
}

#[test]
fn each_value_is_explained() {
    let lines: Vec<String> = loaded(MANIFEST)
        .explain()
        .iter()
        .filter(|line| ["issuer", "gateway.auth", "gateway.login"].iter().any(|it| line.key.starts_with(it)))
        .map(|line| format!("{} = {} ({})", line.key, line.value, line.place))
        .collect();
    expect![[r#"
        gateway.auth.built_in = true (madang.toml:13)
        gateway.auth.keys = false (default)
        gateway.auth.certificates = false (default)
        gateway.auth.leeway = "1m" (default)
        gateway.login.scope = "orders" (madang.toml:14)
        gateway.login.session = "12h" (default)
        issuer.listen = "127.0.0.1:3010" (default)
        issuer.users = "users" (madang.toml:6)
        issuer.lifetime = "10m" (default)
        issuer.clients.app.redirects = "http://127.0.0.1:8000/back" (madang.toml:9)
        issuer.clients.app.scopes = "orders" (madang.toml:10)
        issuer.clients.app.grants = ["authorization_code", "refresh_token"] (default)
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn what_cannot_be_is_refused() {
    refused(
        r#"
[issuer]
listen = 0
users = "user"
[issuer.clients.gateway]
redirects = ["http://shop.example/back", "nonsense"]
secret = "hunter2"
[issuer.clients.ci]
grants = ["client_credentials", "password"]
[issuer.clients.web]
[gateway]
listen = "0.0.0.0:3000"
auth = { keys = true }
login = { issuer = "https://other.example" }
[services.users]
run = "users"
"#,
        expect![[r#"
            MDG-MF-009

              × the issuer cannot listen on any port that is free
               ╭─[madang.toml:3:10]
             2 │ [issuer]
             3 │ listen = 0
               ·          ┬
               ·          ╰── is part of its name
             4 │ users = "user"
               ╰────
              help: tokens name who made them: write a port that stays, such as 3010
            MDG-MF-015

              × there is no service "user"
               ╭─[madang.toml:4:9]
             3 │ listen = 0
             4 │ users = "user"
               ·         ───┬──
               ·            ╰── is to know passwords
             5 │ [issuer.clients.gateway]
               ╰────
              help: did you mean "users"?
            MDG-MF-009

              × `redirects` cannot be "http://shop.example/back"
               ╭─[madang.toml:6:14]
             5 │ [issuer.clients.gateway]
             6 │ redirects = ["http://shop.example/back", "nonsense"]
               ·              ─────────────┬────────────
               ·                           ╰── whoever is on the way could read what is sent there
             7 │ secret = "hunter2"
               ╰────
              help: write the whole URL to the letter, such as "https://app.example/callback"; http:// is for this
                    machine alone
            MDG-MF-009

              × `redirects` cannot be "nonsense"
               ╭─[madang.toml:6:42]
             5 │ [issuer.clients.gateway]
             6 │ redirects = ["http://shop.example/back", "nonsense"]
               ·                                          ─────┬────
               ·                                               ╰── it begins with neither http:// nor https://
             7 │ secret = "hunter2"
               ╰────
              help: write the whole URL to the letter, such as "https://app.example/callback"; http:// is for this
                    machine alone
            MDG-MF-009

              × `secret` cannot be "hunter2"
               ╭─[madang.toml:7:10]
             6 │ redirects = ["http://shop.example/back", "nonsense"]
             7 │ secret = "hunter2"
               ·          ────┬────
               ·              ╰── it is not the name of a kept secret
             8 │ [issuer.clients.ci]
               ╰────
              help: write "${secret.NAME}", and keep it with `madang secret set NAME`
            MDG-MF-009

              × `grants` cannot be "password"
                ╭─[madang.toml:9:33]
              8 │ [issuer.clients.ci]
              9 │ grants = ["client_credentials", "password"]
                ·                                 ─────┬────
                ·                                      ╰── not one of its values
             10 │ [issuer.clients.web]
                ╰────
              help: `grants` takes "authorization_code" or "client_credentials" or "refresh_token"
            MDG-MF-033

              × nobody who logs in could come back to the client web
                ╭─[madang.toml:10:17]
              9 │ grants = ["client_credentials", "password"]
             10 │ [issuer.clients.web]
                ·                 ─┬─
                ·                  ╰── has no `redirects`
             11 │ [gateway]
                ╰────
              help: add redirects = ["https://app.example/callback"], or grants = ["client_credentials"] for a program
                    without people
            MDG-MF-009

              × a session could be read on the way
                ╭─[madang.toml:14:9]
             13 │ auth = { keys = true }
             14 │ login = { issuer = "https://other.example" }
                ·         ──────────────────┬─────────────────
                ·                           ╰── does not say where browsers see the gateway over TLS
             15 │ [services.users]
                ╰────
              help: write url = "https://shop.example", where TLS ends; http:// is for this machine alone
            MDG-MF-037

              × nobody is known who logs browsers in
                ╭─[madang.toml:14:20]
             13 │ auth = { keys = true }
             14 │ login = { issuer = "https://other.example" }
                ·                    ───────────┬───────────
                ·                               ╰── names none of those whose tokens are taken
             15 │ [services.users]
                ╰────
              help: let [gateway.auth] take tokens of an issuer first
        "#]],
    );
}

#[test]
fn who_is_to_be_asked_must_be_there() {
    refused(
        r#"
[gateway]
auth = { built_in = true }
login = {}
[services.users]
run = "users"
"#,
        expect![[r#"
            MDG-MF-037

              × the tokens of the built-in issuer are taken, and there is none
               ╭─[madang.toml:3:21]
             2 │ [gateway]
             3 │ auth = { built_in = true }
               ·                     ──┬─
               ·                       ╰── needs [issuer]
             4 │ login = {}
               ╰────
              help: add to madang.toml: [issuer] with users = "users", the service that knows passwords
            MDG-MF-037

              × nobody is known who logs browsers in
               ╭─[madang.toml:4:9]
             3 │ auth = { built_in = true }
             4 │ login = {}
               ·         ─┬
               ·          ╰── names none of those whose tokens are taken
             5 │ [services.users]
               ╰────
              help: let [gateway.auth] take tokens of an issuer first
        "#]],
    );
    refused(
        r#"
[gateway]
login = {}
[services.users]
run = "users"
require = "optional"
"#,
        expect![[r#"
            MDG-MF-037

              × browsers log in, and nobody's tokens are taken
               ╭─[madang.toml:3:9]
             2 │ [gateway]
             3 │ login = {}
               ·         ─┬
               ·          ╰── needs [gateway.auth]
             4 │ [services.users]
               ╰────
              help: add to madang.toml: [gateway.auth] with built_in = true, or with issuers
            MDG-MF-037

              × a client is asked who it is, and nobody can tell
               ╭─[madang.toml:6:11]
             5 │ run = "users"
             6 │ require = "optional"
               ·           ─────┬────
               ·                ╰── needs [gateway.auth]
               ╰────
              help: add to madang.toml: [gateway.auth] with issuers = [{ issuer = "https://id.example", audience =
                    "shop" }] or keys = true
        "#]],
    );
    refused(
        r#"
[issuer]
clients = { app = { redirects = ["https://app.example/"], secret = "${secret.app}" }, ci = { grants = ["client_credentials"] } }
[gateway]
auth = { built_in = true, issuers = [{ issuer = "https://id.example", audience = "shop" }] }
login = { issuer = "https://id.example" }
[services.users]
run = "users"
"#,
        expect![[r#"
            MDG-MF-033

              × nobody could log in for the client app
               ╭─[madang.toml:3:13]
             2 │ [issuer]
             3 │ clients = { app = { redirects = ["https://app.example/"], secret = "${secret.app}" }, ci = { grants = ["client_credentials"] } }
               ·             ─┬─
               ·              ╰── needs somebody who knows passwords
             4 │ [gateway]
               ╰────
              help: add users = "users" to [issuer]: the service that answers POST /madang/login
            MDG-MF-038

              × there is no secret "app"
               ╭─[madang.toml:3:68]
             2 │ [issuer]
             3 │ clients = { app = { redirects = ["https://app.example/"], secret = "${secret.app}" }, ci = { grants = ["client_credentials"] } }
               ·                                                                    ───────┬───────
               ·                                                                           ╰── is not kept
             4 │ [gateway]
               ╰────
              help: `madang secret set app` asks for it and keeps it sealed
            MDG-MF-033

              × the client ci has nothing to prove who it is
               ╭─[madang.toml:3:87]
             2 │ [issuer]
             3 │ clients = { app = { redirects = ["https://app.example/"], secret = "${secret.app}" }, ci = { grants = ["client_credentials"] } }
               ·                                                                                       ─┬
               ·                                                                                        ╰── gets tokens for itself, without a secret
             4 │ [gateway]
               ╰────
              help: add secret = "${secret.NAME}", or leave client_credentials out of its `grants`
            MDG-MF-007

              × [gateway.login] needs the key `client`
               ╭─[madang.toml:6:9]
             5 │ auth = { built_in = true, issuers = [{ issuer = "https://id.example", audience = "shop" }] }
             6 │ login = { issuer = "https://id.example" }
               ·         ────────────────┬────────────────
               ·                         ╰── `client` is missing
             7 │ [services.users]
               ╰────
              help: write the name under which the issuer knows the gateway; its secret is secret = "${secret.NAME}"
        "#]],
    );
}
