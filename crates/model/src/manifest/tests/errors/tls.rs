//! What is said of `[gateway.tls]`.

use expect_test::expect;

use crate::manifest::tests::refused;

#[test]
fn each_value_says_what_it_takes() {
    refused(
        r#"
[gateway.tls]
certificates = [{ certificate = "shop.pem" }]
min_version = "1.1"
clients = true
"#,
        expect![[r#"
            MDG-MF-007

              × a certificate needs the key `key`
               ╭─[madang.toml:3:17]
             2 │ [gateway.tls]
             3 │ certificates = [{ certificate = "shop.pem" }]
               ·                 ──────────────┬─────────────
               ·                               ╰── `key` is missing
             4 │ min_version = "1.1"
               ╰────
              help: add `key`: The file with its private key, as PEM, relative to the manifest
            MDG-MF-009

              × `min_version` cannot be "1.1"
               ╭─[madang.toml:4:15]
             3 │ certificates = [{ certificate = "shop.pem" }]
             4 │ min_version = "1.1"
               ·               ──┬──
               ·                 ╰── not one of its values
             5 │ clients = true
               ╰────
              help: did you mean "1.2"? `min_version` takes "1.2" or "1.3"
            MDG-MF-006

              × `clients` takes a text
               ╭─[madang.toml:5:11]
             4 │ min_version = "1.1"
             5 │ clients = true
               ·           ──┬─
               ·             ╰── this is `true`
               ╰────
              help: `clients`: Whether nobody is let in without a certificate of these authorities. Default required
        "#]],
    );
}

#[test]
fn there_is_something_to_show_and_somebody_to_believe() {
    refused(
        r#"
[gateway.auth]
certificates = true

[gateway.tls]
clients = "optional"
redirect = 3000
"#,
        expect![[r#"
            MDG-MF-037

              × no client is asked for its certificate
               ╭─[madang.toml:3:16]
             2 │ [gateway.auth]
             3 │ certificates = true
               ·                ──┬─
               ·                  ╰── needs [gateway.tls] with `client_ca`
             4 │
               ╰────
              help: name the authorities that sign them: [gateway.tls] with client_ca = "certs/clients.pem"
            MDG-MF-040

              × the gateway speaks TLS, and has no certificate to show
               ╭─[madang.toml:5:1]
             4 │
             5 │ [gateway.tls]
               · ──────┬──────
               ·       ╰── neither certificates nor development
             6 │ clients = "optional"
               ╰────
              help: add certificates = [{ certificate = "certs/shop.pem", key = "certs/shop.key" }], or development =
                    true for one that Madang makes for this machine
            MDG-MF-033

              × nobody says which certificates of clients are good
               ╭─[madang.toml:6:11]
             5 │ [gateway.tls]
             6 │ clients = "optional"
               ·           ─────┬────
               ·                ╰── asks for certificates of clients
             7 │ redirect = 3000
               ╰────
              help: name the authorities that sign them: client_ca = "certs/clients.pem"
            MDG-MF-017

              × port 3000 is wanted by the gateway and by the gateway's redirect to https
               ╭─[madang.toml:7:12]
             6 │ clients = "optional"
             7 │ redirect = 3000
               ·            ──┬─
               ·              ╰── wanted by the gateway's redirect to https
               ╰────
              help: give one of them another port: the gateway has it unless [gateway] `listen` says otherwise
        "#]],
    );
}
