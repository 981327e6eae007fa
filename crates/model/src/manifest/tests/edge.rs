//! What the gateway itself does, as the manifest says it.

use super::loaded;
use crate::{
    Edge, Scope,
    edge::{Per, RedirectPart, Sticky},
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
