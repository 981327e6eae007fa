//! What is said of what the gateway itself does.

use expect_test::expect;

use crate::manifest::tests::refused;

#[test]
fn each_value_says_what_it_takes() {
    refused(
        r#"
[gateway.edge]
rate_limit = ["100", { rate = "5/s", per = "adress" }]
max_body = "lots"
cors = { origins = ["shop.example", "https://shop.example:443"] }
path = { strip = "/api/" }
request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
compress = { with = ["deflate"], types = ["text"] }

[[routes]]
path = "/a/**"
redirect = "//evil.example"
"#,
        expect![[r#"
            MDG-MF-009

              × `rate_limit` cannot be "100"
               ╭─[madang.toml:3:15]
             2 │ [gateway.edge]
             3 │ rate_limit = ["100", { rate = "5/s", per = "adress" }]
               ·               ──┬──
               ·                 ╰── it is not a rate
             4 │ max_body = "lots"
               ╰────
              help: write how many in how long, from a second to a day: "100/m", "5/s", "20/10s"
            MDG-MF-009

              × `per` cannot be "adress"
               ╭─[madang.toml:3:44]
             2 │ [gateway.edge]
             3 │ rate_limit = ["100", { rate = "5/s", per = "adress" }]
               ·                                            ────┬───
               ·                                                ╰── requests are not counted so
             4 │ max_body = "lots"
               ╰────
              help: did you mean "address"? Requests are counted per "address", "principal", "key", "header:NAME" or
                    "all"
            MDG-MF-009

              × `max_body` cannot be "lots"
               ╭─[madang.toml:4:12]
             3 │ rate_limit = ["100", { rate = "5/s", per = "adress" }]
             4 │ max_body = "lots"
               ·            ───┬──
               ·               ╰── it is not a size
             5 │ cors = { origins = ["shop.example", "https://shop.example:443"] }
               ╰────
              help: write a whole number and a unit, such as "64KiB" or "10MiB"
            MDG-MF-009

              × `origins` cannot be "shop.example"
               ╭─[madang.toml:5:21]
             4 │ max_body = "lots"
             5 │ cors = { origins = ["shop.example", "https://shop.example:443"] }
               ·                     ───────┬──────
               ·                            ╰── it is not an origin
             6 │ path = { strip = "/api/" }
               ╰────
              help: write a scheme and a host, and a port if it is not the usual one: "https://shop.example"; for all
                    write origins = "*"
            MDG-MF-009

              × `origins` cannot be "https://shop.example:443"
               ╭─[madang.toml:5:37]
             4 │ max_body = "lots"
             5 │ cors = { origins = ["shop.example", "https://shop.example:443"] }
               ·                                     ─────────────┬────────────
               ·                                                  ╰── browsers leave the usual port out
             6 │ path = { strip = "/api/" }
               ╰────
              help: write a scheme and a host, and a port if it is not the usual one: "https://shop.example"; for all
                    write origins = "*"
            MDG-MF-009

              × `strip` cannot be "/api/"
               ╭─[madang.toml:6:18]
             5 │ cors = { origins = ["shop.example", "https://shop.example:443"] }
             6 │ path = { strip = "/api/" }
               ·                  ───┬───
               ·                     ╰── it is not the beginning of a path
             7 │ request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
               ╰────
              help: write whole segments of letters, digits and `-._~`, without a slash at the end: "/api", "/v2/shop"
            MDG-MF-045

              × `set` cannot have "host" for a name
               ╭─[madang.toml:7:29]
             6 │ path = { strip = "/api/" }
             7 │ request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
               ·                             ──┬─
               ·                               ╰── the gateway writes it, or goes by it
             8 │ compress = { with = ["deflate"], types = ["text"] }
               ╰────
              help: what names the host, frames a message, says who asks or belongs to the context of a call stays as it
                    is; a service reads it, and no manifest writes it
            MDG-MF-009

              × `set` cannot be "{cookie}"
               ╭─[madang.toml:7:47]
             6 │ path = { strip = "/api/" }
             7 │ request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
               ·                                               ─────┬────
               ·                                                    ╰── a brace begins or ends none of {address}, {request_id}, {host} and {route}
             8 │ compress = { with = ["deflate"], types = ["text"] }
               ╰────
              help: write visible characters; {address}, {request_id}, {host} and {route} are filled in, and nothing
                    else
            MDG-MF-045

              × `remove` cannot be "madang-principal"
               ╭─[madang.toml:7:71]
             6 │ path = { strip = "/api/" }
             7 │ request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
               ·                                                                       ─────────┬────────
               ·                                                                                ╰── the gateway writes it, or goes by it
             8 │ compress = { with = ["deflate"], types = ["text"] }
               ╰────
              help: what names the host, frames a message, says who asks or belongs to the context of a call stays as it
                    is; a service reads it, and no manifest writes it
            MDG-MF-009

              × `with` cannot be "deflate"
               ╭─[madang.toml:8:22]
             7 │ request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
             8 │ compress = { with = ["deflate"], types = ["text"] }
               ·                      ────┬────
               ·                          ╰── not one of its values
             9 │
               ╰────
              help: `with` takes "zstd" or "br" or "gzip"
            MDG-MF-009

              × `types` cannot be "text"
               ╭─[madang.toml:8:43]
             7 │ request_headers = { set = { host = "x", x-a = "{cookie}" }, remove = ["madang-principal"] }
             8 │ compress = { with = ["deflate"], types = ["text"] }
               ·                                           ───┬──
               ·                                              ╰── it is not a media type
             9 │
               ╰────
              help: write one in lower case, such as "application/json", or "text/*" for all of a kind
            MDG-MF-046

              × `redirect` cannot be "//evil.example"
                ╭─[madang.toml:12:12]
             11 │ path = "/a/**"
             12 │ redirect = "//evil.example"
                ·            ────────┬───────
                ·                    ╰── it is neither a path nor a URL
                ╰────
              help: write a path ("/new/{rest}{query}") or a URL that names its host ("https://new.example{path}
                    {query}"): whoever asks must not be able to choose the host
        "#]],
    );
}

#[test]
fn what_would_let_in_or_tell_too_much_is_refused() {
    refused(
        r#"
[gateway.auth]
keys = true

[services.a]
run = "a"
routes = [{ path = "/a", edge = { cors = { origins = "*", credentials = true } } }]

[services.b]
run = "b"
edge = { compress = true }
routes = ["/b", { path = "/open", require = "none" }]
"#,
        expect![[r#"
            MDG-MF-049

              × `cors` lets every page act for whoever is logged in
               ╭─[madang.toml:7:42]
             6 │ run = "a"
             7 │ routes = [{ path = "/a", edge = { cors = { origins = "*", credentials = true } } }]
               ·                                          ──────────────────┬──────────────────
               ·                                                            ╰── all origins, with credentials
             8 │
               ╰────
              help: name the origins: origins = ["https://shop.example"]; or leave `credentials` out
            MDG-MF-050

              × answers over /b are somebody's own, and would be compressed
                ╭─[madang.toml:11:21]
             10 │ run = "b"
             11 │ edge = { compress = true }
                ·                     ──┬─
                ·                       ╰── their length can tell what is in them (BREACH)
             12 │ routes = ["/b", { path = "/open", require = "none" }]
                ·           ──┬─
                ·             ╰── asks who the client is
                ╰────
              help: write compress = false there; or, if no answer holds a secret beside what a request chooses,
                    compress = { beside_secrets = true }
        "#]],
    );
}

#[test]
fn what_means_nothing_is_refused() {
    refused(
        r#"
[services.a]
run = "a"

[[services.a.routes]]
path = "/one"
sticky = "address"

[[services.a.routes]]
path = "/two"
to = "a"
redirect = { to = "/x/{rest}", status = 304 }

[[services.a.routes]]
path = "/three"

[services.a.routes.edge]
rate_limit = ["1/s", "2/m", { rate = "1/s", per = "key" }]
path = {}
mirror = { to = "a" }
request_headers = { set = { x-a = "1" }, remove = ["x-a"] }

[[services.a.routes]]
path = "/four"
edge = { mirror = { to = "b" }, cors = { origins = [] } }
"#,
        expect![[r#"
            MDG-MF-047

              × the route /one has no choice to keep
               ╭─[madang.toml:7:10]
             6 │ path = "/one"
             7 │ sticky = "address"
               ·          ────┬────
               ·              ╰── of which targets?
             8 │
               ╰────
              help: divide the requests: to = { legacy = 95, cart = 5 }; which instance of a service answers is not
                    chosen by this
            MDG-MF-033

              × the route /two both leads and redirects
                ╭─[madang.toml:12:12]
              9 │ [[services.a.routes]]
             10 │ path = "/two"
                ·        ───┬──
                ·           ╰── this route has a `to`
             11 │ to = "a"
             12 │ redirect = { to = "/x/{rest}", status = 304 }
                ·            ─────────────────┬────────────────
                ·                             ╰── no service is asked
             13 │
                ╰────
              help: remove `to` or `redirect`
            MDG-MF-046

              × the route /two has no rest
                ╭─[madang.toml:12:23]
             11 │ to = "a"
             12 │ redirect = { to = "/x/{rest}", status = 304 }
                ·                       ───┬──
                ·                          ╰── what `**` stands for
             13 │
                ╰────
              help: end the path with `/**`, or write {path}
            MDG-MF-046

              × `status` of a redirect cannot be 304
                ╭─[madang.toml:12:41]
             11 │ to = "a"
             12 │ redirect = { to = "/x/{rest}", status = 304 }
                ·                                         ─┬─
                ·                                          ╰── sends nobody elsewhere
             13 │
                ╰────
              help: write 308 (for good) or 307 (for now), which keep the method; 301 and 302 make a GET of a POST in
                    most clients
            MDG-MF-032

              × two rate limits are called "address"
                ╭─[madang.toml:18:14]
             17 │ [services.a.routes.edge]
             18 │ rate_limit = ["1/s", "2/m", { rate = "1/s", per = "key" }]
                ·              ──────────────────────┬──────────────────────
                ·                                    ╰── clients could not tell them apart
             19 │ path = {}
                ╰────
              help: give each a name: { rate = "1000/h", name = "hourly" }
            MDG-MF-037

              × requests are counted per key, and nobody can tell whose they are
                ╭─[madang.toml:18:14]
             17 │ [services.a.routes.edge]
             18 │ rate_limit = ["1/s", "2/m", { rate = "1/s", per = "key" }]
                ·              ──────────────────────┬──────────────────────
                ·                                    ╰── needs [gateway.auth]
             19 │ path = {}
                ╰────
              help: add [gateway.auth] with issuers or keys = true, or count per = "address"
            MDG-MF-009

              × `path` changes nothing
                ╭─[madang.toml:19:8]
             18 │ rate_limit = ["1/s", "2/m", { rate = "1/s", per = "key" }]
             19 │ path = {}
                ·        ─┬
                ·         ╰── neither `strip` nor `add`
             20 │ mirror = { to = "a" }
                ╰────
              help: write path = { strip = "/api" }, or path = false
            MDG-MF-048

              × requests to "a" are copied to itself
                ╭─[madang.toml:20:10]
             19 │ path = {}
             20 │ mirror = { to = "a" }
                ·          ──────┬─────
                ·                ╰── it would get each of them twice
             21 │ request_headers = { set = { x-a = "1" }, remove = ["x-a"] }
                ╰────
              help: name another service, such as the next version of this one
            MDG-MF-033

              × the header `x-a` is both removed and set
                ╭─[madang.toml:21:19]
             20 │ mirror = { to = "a" }
             21 │ request_headers = { set = { x-a = "1" }, remove = ["x-a"] }
                ·                   ────────────────────┬────────────────────
                ·                                       ╰── one of them means nothing
             22 │
                ╰────
              help: `set` replaces whatever there was: leave it out of `remove`
            MDG-MF-015

              × there is no service "b"
                ╭─[madang.toml:25:19]
             24 │ path = "/four"
             25 │ edge = { mirror = { to = "b" }, cors = { origins = [] } }
                ·                   ──────┬─────
                ·                         ╰── copies are for nobody
                ╰────
              help: declare [services.b]
            MDG-MF-009

              × `origins` cannot be empty
                ╭─[madang.toml:25:40]
             24 │ path = "/four"
             25 │ edge = { mirror = { to = "b" }, cors = { origins = [] } }
                ·                                        ────────┬───────
                ·                                                ╰── nobody's pages
                ╰────
              help: name an origin ("https://shop.example"), or write cors = false
        "#]],
    );
}

#[test]
fn whom_to_believe_and_where_to_share() {
    refused(
        r#"
[gateway]
trusted_proxies = ["10.1.0.0/8", "lb.internal"]

[gateway.limit_store]
url = "redis://user:word@limits"

[services.a]
run = "a"
edge = { rate_limit = { rate = "1/s", shared = {} } }
"#,
        expect![[r#"
            MDG-MF-009

              × `trusted_proxies` cannot be "10.1.0.0/8"
               ╭─[madang.toml:3:20]
             2 │ [gateway]
             3 │ trusted_proxies = ["10.1.0.0/8", "lb.internal"]
               ·                    ──────┬─────
               ·                          ╰── bits are set beyond its length
             4 │
               ╰────
              help: write "10.0.0.0/8" for all of these addresses, or one address without a length
            MDG-MF-009

              × `trusted_proxies` cannot be "lb.internal"
               ╭─[madang.toml:3:34]
             2 │ [gateway]
             3 │ trusted_proxies = ["10.1.0.0/8", "lb.internal"]
               ·                                  ──────┬──────
               ·                                        ╰── it is not a network
             4 │
               ╰────
              help: write an address with how many of its bits count: "10.0.0.0/8", "fd00::/8"; or an address alone
            MDG-MF-009

              × `url` cannot be "redis://user:word@limits"
               ╭─[madang.toml:6:7]
             5 │ [gateway.limit_store]
             6 │ url = "redis://user:word@limits"
               ·       ─────────────┬────────────
               ·                    ╰── it holds a user or a password
             7 │
               ╰────
              help: leave them out, and write user = "gateway" and password = "${secret.NAME}" beside `url`
            MDG-MF-007

              × `shared` needs the key `when_down`
                ╭─[madang.toml:10:48]
              9 │ run = "a"
             10 │ edge = { rate_limit = { rate = "1/s", shared = {} } }
                ·                                                ─┬
                ·                                                 ╰── `when_down` is missing
                ╰────
              help: add `when_down`: What holds while the store cannot be asked: each gateway counts alone, or refuses
                    what it cannot count
        "#]],
    );
    refused(
        r#"
[gateway]
trusted_proxies = ["::/0"]
limit_store = { url = "redis://limits", user = "gateway" }

[services.a]
run = "a"
"#,
        expect![[r#"
            MDG-MF-009

              × `trusted_proxies` trusts everybody
               ╭─[madang.toml:3:20]
             2 │ [gateway]
             3 │ trusted_proxies = ["::/0"]
               ·                    ───┬──
               ·                       ╰── every client could say that it is another
             4 │ limit_store = { url = "redis://limits", user = "gateway" }
               ╰────
              help: name the networks of the proxies alone, such as "10.0.0.0/8"
            MDG-MF-033

              × `limit_store` names a user and no password
               ╭─[madang.toml:4:48]
             3 │ trusted_proxies = ["::/0"]
             4 │ limit_store = { url = "redis://limits", user = "gateway" }
               ·                                                ────┬────
               ·                                                    ╰── nobody is let in by a name alone
             5 │
               ╰────
              help: add password = "${secret.NAME}"; or leave `user` out, if the store asks for none
        "#]],
    );
    refused(
        r#"
gateway.trusted_proxies = []

[services.a]
run = "a"
edge = { rate_limit = { rate = "1/s", shared = { when_down = "local" } } }
"#,
        expect![[r#"
            MDG-MF-009

              × `trusted_proxies` trusts nobody
               ╭─[madang.toml:2:27]
             1 │
             2 │ gateway.trusted_proxies = []
               ·                           ─┬
               ·                            ╰── no network
             3 │
               ╰────
              help: name where the proxies are: ["10.0.0.0/8"]; or leave it out, and nobody is believed
            MDG-MF-051

              × the rate limit "address" is shared, and nothing says where
               ╭─[madang.toml:6:23]
             5 │ run = "a"
             6 │ edge = { rate_limit = { rate = "1/s", shared = { when_down = "local" } } }
               ·                       ─────────────────────────┬────────────────────────
               ·                                                ╰── needs [gateway.limit_store]
               ╰────
              help: add to madang.toml: [gateway.limit_store] with url = "redis://limits.internal:6379"; or leave
                    `shared` out, and each gateway counts alone
        "#]],
    );
}

#[test]
fn what_is_kept_fits_and_is_of_some_use() {
    refused(
        r#"
[gateway]
cache_size = "1MiB"
edge = { cache = true }

[services.a]
run = "a"
protocol = "grpc"
edge = { cache = { max_body = "64KiB", ttl = "soon", vary = ["a b"], tags = ["A B"] } }
routes = ["/a/**"]

[services.b]
run = "b"
protocol = "grpc"
edge = { cache = { max_body = "64KiB" } }
routes = ["/b/**"]
"#,
        expect![[r#"
            MDG-MF-041

              × a body of 1MiB does not fit into a quarter of the cache, which has 1MiB
               ╭─[madang.toml:4:18]
             2 │ [gateway]
             3 │ cache_size = "1MiB"
               ·              ───┬──
               ·                 ╰── all answers together
             4 │ edge = { cache = true }
               ·                  ──┬─
               ·                    ╰── one answer would push out the others
             5 │
               ╰────
              help: lower `max_body` here, or give [gateway] a larger `cache_size`
            MDG-MF-009

              × `ttl` cannot be "soon"
                ╭─[madang.toml:9:46]
              8 │ protocol = "grpc"
              9 │ edge = { cache = { max_body = "64KiB", ttl = "soon", vary = ["a b"], tags = ["A B"] } }
                ·                                              ───┬──
                ·                                                 ╰── it is not a duration
             10 │ routes = ["/a/**"]
                ╰────
              help: write a whole number and a unit, such as "250ms", "3s", "5m" or "1h"
            MDG-MF-013

              × `vary` cannot be "a b"
                ╭─[madang.toml:9:62]
              8 │ protocol = "grpc"
              9 │ edge = { cache = { max_body = "64KiB", ttl = "soon", vary = ["a b"], tags = ["A B"] } }
                ·                                                              ──┬──
                ·                                                                ╰── it is not the name of a header
             10 │ routes = ["/a/**"]
                ╰────
              help: write letters, digits and `-`, such as "x-beta"
            MDG-MF-008

              × `tags` cannot be "A B"
                ╭─[madang.toml:9:78]
              8 │ protocol = "grpc"
              9 │ edge = { cache = { max_body = "64KiB", ttl = "soon", vary = ["a b"], tags = ["A B"] } }
                ·                                                                              ──┬──
                ·                                                                                ╰── a name starts with a letter from a to z
             10 │ routes = ["/a/**"]
                ╰────
              help: write "a-b": 1 to 63 of a to z, 0 to 9 and `-`, a letter first
            MDG-MF-042

              × "b" speaks gRPC, of which nothing is kept
                ╭─[madang.toml:15:18]
             13 │ run = "b"
             14 │ protocol = "grpc"
                ·            ───┬──
                ·               ╰── all of its requests are POST
             15 │ edge = { cache = { max_body = "64KiB" } }
                ·                  ───────────┬──────────
                ·                             ╰── keeps nothing
             16 │ routes = ["/b/**"]
                ╰────
              help: leave `cache` out
        "#]],
    );
}
