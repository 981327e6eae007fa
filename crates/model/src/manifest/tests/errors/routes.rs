//! What is said of routes.

use expect_test::expect;

use crate::manifest::tests::refused;

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
