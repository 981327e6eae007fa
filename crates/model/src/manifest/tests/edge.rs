//! What the gateway itself does, as the manifest says it.

use super::loaded;
use crate::{
    Edge, Scope,
    edge::{LimitStore, Per, ProxyHeader, RedirectPart, Sticky, WhenDown},
};

const MANIFEST: &str = r#"
[gateway.edge]
rate_limit = "100/m"
max_body = "1MiB"
problems = true

[services.users]
run = "users"
routes = ["/users", { path = "/upload", edge = { max_body = false, rate_limit = ["5/s", { rate = "1000/h", per = "all", burst = 50 }] } }]

[services.users.edge]
path = { strip = "/api" }
rate_limit = { rate = "10/s", per = "header:X-Tenant" }

[services.cart]
run = "cart"

[[routes]]
path = "/cart/**"
to = { users = 9, cart = 1 }
sticky = { header = "X-User" }

[[routes]]
path = "/basket/**"
redirect = "/cart/{rest}{query}"
"#;

fn edge(path: &str, service: &str) -> Edge {
    let system = loaded(MANIFEST).system;
    let route = system.routes.iter().find(|route| route.path == path);
    system.edge_of_route(route, &service.parse().unwrap())
}

#[test]
fn of_each_rule_the_narrowest_scope_holds_whole() {
    let users = edge("/users", "users");
    assert_eq!((users.max_body, users.problems.is_some()), (Some(1 << 20), true));
    assert_eq!(users.path.unwrap().strip.as_deref(), Some("/api"));
    let [(Scope::Service, limit)] = &users.rate_limits[..] else { panic!("{:?}", users.rate_limits) };
    assert_eq!(
        (&limit.per, &*limit.name, limit.burst),
        (&Per::Header("x-tenant".into()), "header-x-tenant", 10)
    );
    let upload = edge("/upload", "users");
    assert_eq!(upload.max_body, None);
    let limits: Vec<_> =
        upload.rate_limits.iter().map(|(scope, limit)| (*scope, &*limit.name, limit.burst)).collect();
    assert_eq!(limits, [(Scope::Route, "address", 5), (Scope::Route, "all", 50)]);
    assert_eq!(edge("/cart/**", "cart").rate_limits[0].0, Scope::Gateway);
    assert!(
        loaded("[services.a]\nrun = \"a\"\nroutes = [\"/a\"]\n")
            .system
            .edge_of_route(None, &"a".parse().unwrap())
            .is_empty()
    );
}

#[test]
fn what_is_kept_is_said_by_the_narrowest_scope() {
    let system = loaded(
        r#"
        [gateway]
        edge = { cache = { ttl = "5s", tags = ["all"] } }
        [services.a]
        run = "a"
        routes = ["/a", { path = "/b", edge = { cache = { vary = ["X-Tenant"], max_body = "2KiB" } } }, { path = "/c", edge = { cache = false } }]
        "#,
    )
    .system;
    assert_eq!(system.gateway.cache_size, 64 << 20);
    let of = |path: &str| {
        let route = system.routes.iter().find(|route| route.path == path);
        system.edge_of_route(route, &"a".parse().unwrap()).cache
    };
    let (a, b) = (of("/a").unwrap(), of("/b").unwrap());
    assert_eq!((a.ttl, a.max_body, a.tags.len()), (Some(std::time::Duration::from_secs(5)), 1 << 20, 1));
    assert_eq!((b.ttl, b.max_body, b.vary), (None, 2048, ["x-tenant".to_owned()].into()));
    assert_eq!(of("/c"), None);
}

#[test]
fn a_route_redirects_or_keeps_its_choice() {
    let system = loaded(MANIFEST).system;
    let route = |path: &str| system.routes.iter().find(|route| route.path == path).unwrap();
    let basket = route("/basket/**");
    let redirect = basket.redirect.as_ref().unwrap();
    assert_eq!((redirect.status, basket.to.len()), (308, 0));
    assert_eq!(redirect.to.parts[1..], [RedirectPart::Rest, RedirectPart::Query]);
    assert_eq!(route("/cart/**").sticky, Some(Sticky::Header("x-user".into())));
}

#[test]
fn who_says_what_is_explained() {
    let system = loaded(MANIFEST).system;
    let explained = system.explain_route(system.routes.first(), &"users".parse().unwrap());
    let of = |setting: &str| explained.iter().find(|it| it.setting == setting).unwrap();
    assert_eq!(of("edge.max_body").scope, Some(Scope::Gateway));
    assert_eq!(of("edge.max_body").value, "1MiB");
    let limit = of("edge.rate_limit");
    assert_eq!((limit.scope, limit.place.as_ref().unwrap().line), (Some(Scope::Service), 13));
    assert_eq!(limit.value[0]["rate"], "10/s");
    assert_eq!((of("edge.cors").scope, of("edge.cors").value.as_bool()), (None, Some(false)));
}

#[test]
fn a_limit_is_shared_where_the_manifest_says_so_and_says_what_holds_otherwise() {
    let text = r#"
[gateway.limit_store]
url = "redis://limits.internal"

[gateway.edge]
rate_limit = [
    { rate = "1/s", shared = { when_down = "refuse" } },
    { rate = "2/s", name = "b", shared = { when_down = "local" } },
    { rate = "3/s", name = "c", shared = false },
]

[services.a]
run = "a"
"#;
    let system = loaded(text).system;
    let limits = system.edge_of_route(None, &"a".parse().unwrap()).rate_limits;
    let shared: Vec<_> = limits.iter().map(|(_, limit)| limit.shared).collect();
    assert_eq!(shared, [Some(WhenDown::Refuse), Some(WhenDown::Local), None]);
    let url = "redis://limits.internal:6379/0".parse().unwrap();
    assert_eq!(system.gateway.limit_store, Some(LimitStore { url, user: None, password: None }));
}

#[test]
fn nobody_is_believed_but_those_who_are_named() {
    let proxies = |text: &str| loaded(&format!("[gateway]\n{text}\n")).system.gateway.proxies;
    assert_eq!(proxies(""), None);
    let short = proxies("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]").unwrap();
    assert_eq!(short.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1"]);
    assert_eq!(short.header, ProxyHeader::XForwarded);
    let long = proxies("trusted_proxies = { networks = [\"192.0.2.7\"], header = \"forwarded\" }").unwrap();
    assert_eq!(long.header, ProxyHeader::Forwarded);
}
