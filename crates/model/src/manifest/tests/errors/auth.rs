//! What is said of `[gateway.auth]` and of `require`.

use expect_test::expect;

use crate::manifest::tests::refused;

#[test]
fn each_value_says_what_it_takes() {
    refused(
        r#"
[gateway.auth]
issuer = "https://id.example"
keys = "yes"
leeway = "61s"

[[gateway.auth.issuers]]
issuer = "http://id.example"
jwks = "id.example/keys"
audience = "shop"
roles = "realm_access."
claims = [""]
"#,
        expect![[r#"
            MDG-MF-004

              × `issuer` is not a key of [gateway.auth]
               ╭─[madang.toml:3:1]
             2 │ [gateway.auth]
             3 │ issuer = "https://id.example"
               · ───┬──
               ·    ╰── unknown key
             4 │ keys = "yes"
               ╰────
              help: did you mean `issuers`? The keys of [gateway.auth] are `issuers`, `keys`, `certificates`,
                    `built_in`, `leeway`
            MDG-MF-006

              × `keys` takes `true` or `false` or a table
               ╭─[madang.toml:4:8]
             3 │ issuer = "https://id.example"
             4 │ keys = "yes"
               ·        ──┬──
               ·          ╰── this is a text
             5 │ leeway = "61s"
               ╰────
              help: `keys`: Whether the API keys that `madang key create` makes are taken. Default false
            MDG-MF-009

              × `leeway` cannot be "61s"
               ╭─[madang.toml:5:10]
             4 │ keys = "yes"
             5 │ leeway = "61s"
               ·          ──┬──
               ·            ╰── it is longer than a minute
             6 │
               ╰────
              help: write at most "60s": clocks that differ by more are to be set right
            MDG-MF-009

              × `issuer` cannot be "http://id.example"
               ╭─[madang.toml:8:10]
             7 │ [[gateway.auth.issuers]]
             8 │ issuer = "http://id.example"
               ·          ─────────┬─────────
               ·                   ╰── whoever is on the way could put keys of their own in
             9 │ jwks = "id.example/keys"
               ╰────
              help: write https://; http:// is for this machine alone, such as "http://127.0.0.1:8080"
            MDG-MF-009

              × `jwks` cannot be "id.example/keys"
                ╭─[madang.toml:9:8]
              8 │ issuer = "http://id.example"
              9 │ jwks = "id.example/keys"
                ·        ────────┬────────
                ·                ╰── it begins with neither http:// nor https://
             10 │ audience = "shop"
                ╰────
              help: write the scheme and the host, such as "https://id.example/realms/shop"
            MDG-MF-009

              × `roles` cannot be "realm_access."
                ╭─[madang.toml:11:9]
             10 │ audience = "shop"
             11 │ roles = "realm_access."
                ·         ───────┬───────
                ·                ╰── it is not the name of a claim
             12 │ claims = [""]
                ╰────
              help: write a name, or the names on the way to it with dots between them, such as "realm_access.roles"
            MDG-MF-009

              × `claims` cannot be ""
                ╭─[madang.toml:12:11]
             11 │ roles = "realm_access."
             12 │ claims = [""]
                ·           ─┬
                ·            ╰── it is not the name of a claim
                ╰────
              help: write a name, or the names on the way to it with dots between them, such as "realm_access.roles"
        "#]],
    );
    refused(
        r#"
[gateway.auth]
leeway = "soon"
issuers = [{ issuer = "https://id.example/?a=b" }, { issuer = "https://id.example", audience = [] }]
"#,
        expect![[r#"
            MDG-MF-009

              × `leeway` cannot be "soon"
               ╭─[madang.toml:3:10]
             2 │ [gateway.auth]
             3 │ leeway = "soon"
               ·          ───┬──
               ·             ╰── it is not a duration
             4 │ issuers = [{ issuer = "https://id.example/?a=b" }, { issuer = "https://id.example", audience = [] }]
               ╰────
              help: write at most "60s": clocks that differ by more are to be set right
            MDG-MF-007

              × an issuer needs the key `audience`
               ╭─[madang.toml:4:12]
             3 │ leeway = "soon"
             4 │ issuers = [{ issuer = "https://id.example/?a=b" }, { issuer = "https://id.example", audience = [] }]
               ·            ───────────────────┬──────────────────
               ·                               ╰── `audience` is missing
               ╰────
              help: add `audience`: What its tokens have in `aud`: one of these
            MDG-MF-009

              × `issuer` cannot be "https://id.example/?a=b"
               ╭─[madang.toml:4:23]
             3 │ leeway = "soon"
             4 │ issuers = [{ issuer = "https://id.example/?a=b" }, { issuer = "https://id.example", audience = [] }]
               ·                       ────────────┬────────────
               ·                                   ╰── it has a query
               ╰────
              help: write the issuer as its tokens have it in `iss`, such as "https://id.example/realms/shop"
            MDG-MF-009

              × `audience` cannot be empty
               ╭─[madang.toml:4:96]
             3 │ leeway = "soon"
             4 │ issuers = [{ issuer = "https://id.example/?a=b" }, { issuer = "https://id.example", audience = [] }]
               ·                                                                                                ─┬
               ·                                                                                                 ╰── no token is for nobody
               ╰────
              help: write what the tokens have in `aud`, such as "shop": without it a token that was made for another
                    system would be good here
        "#]],
    );
}

#[test]
fn an_issuer_is_named_once() {
    refused(
        r#"
[gateway.auth]
issuers = [
    { issuer = "https://id.example", audience = "shop" },
    { issuer = "https://id.example/", audience = "shop" },
    { issuer = "https://id.example", audience = "cart" },
]
"#,
        expect![[r#"
            MDG-MF-032

              × the issuer https://id.example is given twice
               ╭─[madang.toml:6:16]
             3 │ issuers = [
             4 │     { issuer = "https://id.example", audience = "shop" },
               ·                ──────────┬─────────
               ·                          ╰── the first
             5 │     { issuer = "https://id.example/", audience = "shop" },
             6 │     { issuer = "https://id.example", audience = "cart" },
               ·                ──────────┬─────────
               ·                          ╰── the second time
             7 │ ]
               ╰────
              help: keep one of them; for several audiences write audience = ["…", "…"]
        "#]],
    );
}

#[test]
fn somebody_can_say_who_is_asked() {
    refused(
        "[gateway.auth]\nleeway = \"10s\"\n",
        expect![[r#"
        MDG-MF-037

          × nothing says who can tell who a client is
           ╭─[madang.toml:1:1]
         1 │ [gateway.auth]
           · ───────┬──────
           ·        ╰── neither issuers nor keys
         2 │ leeway = "10s"
           ╰────
          help: add issuers = [{ issuer = "https://id.example", audience = "shop" }], or keys = true for those that
                `madang key create` makes
    "#]],
    );
    refused(
        "[gateway.auth]\nissuers = []\nkeys = false\n",
        expect![[r#"
        MDG-MF-037

          × nothing says who can tell who a client is
           ╭─[madang.toml:1:1]
         1 │ [gateway.auth]
           · ───────┬──────
           ·        ╰── neither issuers nor keys
         2 │ issuers = []
           ╰────
          help: add issuers = [{ issuer = "https://id.example", audience = "shop" }], or keys = true for those that
                `madang key create` makes
    "#]],
    );
    refused(
        r#"
[services.users]
run = "users"
require = "principal"
routes = [{ path = "/open", require = "none" }, { path = "/admin", require = { role = "admin" } }]
"#,
        expect![[r#"
            MDG-MF-037

              × a client is asked who it is, and nobody can tell
               ╭─[madang.toml:4:11]
             3 │ run = "users"
             4 │ require = "principal"
               ·           ─────┬─────
               ·                ╰── needs [gateway.auth]
             5 │ routes = [{ path = "/open", require = "none" }, { path = "/admin", require = { role = "admin" } }]
               ╰────
              help: add to madang.toml: [gateway.auth] with issuers = [{ issuer = "https://id.example", audience =
                    "shop" }] or keys = true
            MDG-MF-037

              × a client is asked who it is, and nobody can tell
               ╭─[madang.toml:5:78]
             4 │ require = "principal"
             5 │ routes = [{ path = "/open", require = "none" }, { path = "/admin", require = { role = "admin" } }]
               ·                                                                              ─────────┬────────
               ·                                                                                       ╰── needs [gateway.auth]
               ╰────
              help: add to madang.toml: [gateway.auth] with issuers = [{ issuer = "https://id.example", audience =
                    "shop" }] or keys = true
        "#]],
    );
}

#[test]
fn api_keys_are_in_a_header_of_their_own() {
    refused(
        "[gateway.auth]\nkeys = { header = \"Authorization\" }\n",
        expect![[r#"
        MDG-MF-009

          × API keys cannot be in the header `authorization`
           ╭─[madang.toml:2:8]
         1 │ [gateway.auth]
         2 │ keys = { header = "Authorization" }
           ·        ──────────────┬─────────────
           ·                      ╰── means something else there, or does not reach the gateway
           ╰────
          help: write another, such as header = "x-api-key"; `authorization: Bearer` takes them anyway
    "#]],
    );
    refused(
        "[gateway.auth]\nkeys = { header = \"madang-key\" }\n",
        expect![[r#"
        MDG-MF-009

          × API keys cannot be in the header `madang-key`
           ╭─[madang.toml:2:8]
         1 │ [gateway.auth]
         2 │ keys = { header = "madang-key" }
           ·        ────────────┬────────────
           ·                    ╰── means something else there, or does not reach the gateway
           ╰────
          help: write another, such as header = "x-api-key"; `authorization: Bearer` takes them anyway
    "#]],
    );
}

#[test]
fn what_is_asked_for_can_hold() {
    refused(
        r#"
[gateway.auth]
keys = true

[services.users]
run = "users"
require = "nobody"
routes = [
    { path = "/a", require = {} },
    { path = "/b", require = { scope = "two words" } },
    { path = "/c", require = { scopes = "a" } },
    { path = "/d", require = { claim = { tenant = [] } } },
    { path = "/e", require = true },
]
"#,
        expect![[r#"
            MDG-MF-009

              × `require` cannot be "nobody"
               ╭─[madang.toml:7:11]
             6 │ run = "users"
             7 │ require = "nobody"
               ·           ────┬───
               ·               ╰── not one of its values
             8 │ routes = [
               ╰────
              help: `require` takes "none" or "optional" or "principal"
            MDG-MF-009

              × `require` names nothing that must hold
                ╭─[madang.toml:9:30]
              8 │ routes = [
              9 │     { path = "/a", require = {} },
                ·                              ─┬
                ·                               ╰── asks for nothing
             10 │     { path = "/b", require = { scope = "two words" } },
                ╰────
              help: write "principal" for whoever is known, "none" for everybody, or what must hold: { scope =
                    "orders:write" }, { role = "admin" }, { claim = { tenant = "acme" } }
            MDG-MF-009

              × `scope` cannot be "two words"
                ╭─[madang.toml:10:40]
              9 │     { path = "/a", require = {} },
             10 │     { path = "/b", require = { scope = "two words" } },
                ·                                        ─────┬─────
                ·                                             ╰── it is not one scope
             11 │     { path = "/c", require = { scopes = "a" } },
                ╰────
              help: write one without blanks, such as "orders:write"; several are a list: scope = ["orders:read",
                    "orders:write"]
            MDG-MF-004

              × `scopes` is not a key of `require`
                ╭─[madang.toml:11:32]
             10 │     { path = "/b", require = { scope = "two words" } },
             11 │     { path = "/c", require = { scopes = "a" } },
                ·                                ───┬──
                ·                                   ╰── unknown key
             12 │     { path = "/d", require = { claim = { tenant = [] } } },
                ╰────
              help: did you mean `scope`? The keys of `require` are `scope`, `role`, `claim`
            MDG-MF-009

              × `require` names nothing that must hold
                ╭─[madang.toml:12:30]
             11 │     { path = "/c", require = { scopes = "a" } },
             12 │     { path = "/d", require = { claim = { tenant = [] } } },
                ·                              ─────────────┬─────────────
                ·                                           ╰── asks for nothing
             13 │     { path = "/e", require = true },
                ╰────
              help: write "principal" for whoever is known, "none" for everybody, or what must hold: { scope =
                    "orders:write" }, { role = "admin" }, { claim = { tenant = "acme" } }
            MDG-MF-006

              × `require` takes a text or a table
                ╭─[madang.toml:13:30]
             12 │     { path = "/d", require = { claim = { tenant = [] } } },
             13 │     { path = "/e", require = true },
                ·                              ──┬─
                ·                                ╰── this is `true`
             14 │ ]
                ╰────
              help: `require`: What is asked of whoever makes the requests: "none", "optional", "principal" for whoever
                    is known, or what must hold of them. Default: what their service says
        "#]],
    );
}

#[test]
fn a_route_that_divides_its_requests_asks_one_thing() {
    refused(
        r#"
[gateway.auth]
keys = true

[services.cart]
run = "cart"
require = { scope = "cart" }

[services.legacy]
run = "legacy"

[[routes]]
path = "/cart"
to = { legacy = 95, cart = 5 }

[[routes]]
path = "/cart/none"
to = { legacy = 95, cart = 0 }

[[routes]]
path = "/cart/said"
to = { legacy = 95, cart = 5 }
require = "principal"
"#,
        expect![[r#"
            MDG-MF-033

              × the route /cart asks different things of the same requests
                ╭─[madang.toml:13:8]
              6 │ run = "cart"
              7 │ require = { scope = "cart" }
                ·           ─────────┬────────
                ·                    ╰── one of them says this
              8 │
              9 │ [services.legacy]
             10 │ run = "legacy"
             11 │
             12 │ [[routes]]
             13 │ path = "/cart"
                ·        ───┬───
                ·           ╰── leads to services that do not agree
             14 │ to = { legacy = 95, cart = 5 }
                ╰────
              help: say in the route what it asks for: require = "principal", or what must hold
        "#]],
    );
}
