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
               ·       ╰── neither certificates nor acme nor development
             6 │ clients = "optional"
               ╰────
              help: add certificates = [{ certificate = "certs/shop.pem", key = "certs/shop.key" }], [gateway.tls.acme]
                    for one that an authority on the network signs, or development = true for one that Madang makes for
                    this machine
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

#[test]
fn an_authority_can_be_asked_and_can_see_what_it_asks_for() {
    refused(
        r#"
[gateway.tls]
client_crl = "revoked.pem"

[gateway.tls.acme]
domains = ["*.shop.example", "127.0.0.1"]
contact = "mailto:ops"
directory = "http://acme.example/directory"
"#,
        expect![[r#"
            MDG-MF-007

              × [gateway.tls.acme] needs the key `terms`
               ╭─[madang.toml:5:1]
             4 │
             5 │ [gateway.tls.acme]
               · ─────────┬────────
               ·          ╰── `terms` is missing
             6 │ domains = ["*.shop.example", "127.0.0.1"]
               ╰────
              help: add `terms`: That you have read the terms of the authority and agree to them: "agreed"
            MDG-MF-062

              × `domains` cannot be "*.shop.example"
               ╭─[madang.toml:6:12]
             5 │ [gateway.tls.acme]
             6 │ domains = ["*.shop.example", "127.0.0.1"]
               ·            ────────┬───────
               ·                    ╰── only who can change the DNS is given a certificate for all names
             7 │ contact = "mailto:ops"
               ╰────
              help: name each host, or have a program that can change your DNS write the files of `certificates`
            MDG-MF-062

              × `domains` cannot be "127.0.0.1"
               ╭─[madang.toml:6:30]
             5 │ [gateway.tls.acme]
             6 │ domains = ["*.shop.example", "127.0.0.1"]
               ·                              ─────┬─────
               ·                                   ╰── it is not the name of a host
             7 │ contact = "mailto:ops"
               ╰────
              help: write a name without a scheme and without a port, such as "shop.example"
            MDG-MF-009

              × `contact` cannot be "mailto:ops"
               ╭─[madang.toml:7:11]
             6 │ domains = ["*.shop.example", "127.0.0.1"]
             7 │ contact = "mailto:ops"
               ·           ──────┬─────
               ·                 ╰── it is no mail address
             8 │ directory = "http://acme.example/directory"
               ╰────
              help: write one address, such as "ops@shop.example"
            MDG-MF-009

              × `directory` cannot be "http://acme.example/directory"
               ╭─[madang.toml:8:13]
             7 │ contact = "mailto:ops"
             8 │ directory = "http://acme.example/directory"
               ·             ───────────────┬───────────────
               ·                            ╰── whoever is on the way could be the authority
               ╰────
              help: write https:// and all of it, such as "https://acme-v02.api.letsencrypt.org/directory"; http:// is
                    for this machine alone
        "#]],
    );
}

#[test]
fn what_an_authority_asks_is_answered() {
    refused(
        "[gateway.tls.acme]\ndomains = [\"a.example\", \"A.example\"]\nterms = \"agreed\"\nchallenge = \"http-01\"\n",
        expect![[r#"
            MDG-MF-032

              × A.example is named twice
               ╭─[madang.toml:2:25]
             1 │ [gateway.tls.acme]
             2 │ domains = ["a.example", "A.example"]
               ·                         ─────┬─────
               ·                              ╰── was named before
             3 │ terms = "agreed"
               ╰────
              help: leave one of them
            MDG-MF-063

              × nothing listens where the authority asks in plain
               ╭─[madang.toml:4:13]
             3 │ terms = "agreed"
             4 │ challenge = "http-01"
               ·             ────┬────
               ·                 ╰── is answered by the listener of `redirect`
               ╰────
              help: add redirect = "0.0.0.0:80" to [gateway.tls], or write challenge = "tls-alpn-01"
        "#]],
    );
    refused(
        "[gateway.tls]\nclient_ca = \"a.pem\"\n[gateway.tls.acme]\ndomains = []\nterms = \"agreed\"\n",
        expect![[r#"
            MDG-MF-063

              × the authority has no certificate of a client, and would not be let in
               ╭─[madang.toml:1:1]
             1 │ [gateway.tls]
               · ──────┬──────
               ·       ╰── is asked over TLS, where every client must have one
             2 │ client_ca = "a.pem"
               ╰────
              help: write challenge = "http-01" with a `redirect`, or clients = "optional"
            MDG-MF-062

              × a certificate is for at least one host
               ╭─[madang.toml:4:11]
             3 │ [gateway.tls.acme]
             4 │ domains = []
               ·           ─┬
               ·            ╰── names none
             5 │ terms = "agreed"
               ╰────
              help: write the names that lead to this gateway: domains = ["shop.example"]
        "#]],
    );
}

#[test]
fn nothing_is_taken_back_that_is_not_asked_for() {
    refused(
        "[gateway.tls]\ndevelopment = true\nclient_crl = \"revoked.pem\"\n",
        expect![[r#"
        MDG-MF-033

          × no client is asked for a certificate that could be taken back
           ╭─[madang.toml:3:14]
         2 │ development = true
         3 │ client_crl = "revoked.pem"
           ·              ──────┬──────
           ·                    ╰── is about certificates of clients
           ╰────
          help: name the authorities that sign them: client_ca = "certs/clients.pem"
    "#]],
    );
}
