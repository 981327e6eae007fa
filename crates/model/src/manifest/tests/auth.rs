//! What is asked of whom, as the manifest says it.

use std::time::Duration;

use expect_test::expect;

use super::loaded;
use crate::{Demand, Require};

const MANIFEST: &str = r#"
[gateway.auth]
keys = { header = "X-Key" }
issuers = [{ issuer = "https://id.example/realms/shop/", audience = ["shop", "cart"], roles = "realm_access.roles" }]

[services.users]
run = "users"
require = { scope = ["users:read", "users"], role = "admin", claim = { "org.tenant" = "acme" } }
routes = ["/users", { path = "/register", require = "none" }, { path = "/me", require = "principal" }]

[services.cart]
run = "cart"
routes = ["/cart"]
"#;

#[test]
fn a_route_says_it_before_its_service_and_all_else_is_closed() {
    let system = loaded(MANIFEST).system;
    let required = |path: &str| {
        let route = system.routes.iter().find(|route| route.path == path).unwrap();
        system.require(Some(route), &route.to[0].service)
    };
    let Require::Of(Demand { scope, role, claim }) = required("/users") else { panic!("the service's") };
    assert!(scope.iter().eq(["users", "users:read"]) && role.contains("admin"));
    assert_eq!(claim.keys().next().unwrap().names().collect::<Vec<_>>(), ["org", "tenant"]);
    assert_eq!(required("/register"), Require::None);
    assert_eq!((required("/me"), required("/cart")), (Require::Principal, Require::Principal));
    let open = loaded("[services.a]\nrun = \"a\"\nroutes = [\"/a\"]\n").system;
    assert_eq!(open.require(open.routes.first(), &"a".parse().unwrap()), Require::None);
}

#[test]
fn what_is_not_said_is_usual() {
    let auth = loaded(MANIFEST).system.gateway.auth.unwrap();
    assert_eq!(auth.leeway, Duration::from_secs(60));
    assert_eq!(auth.keys.unwrap().header, "x-key");
    let issuer = &auth.issuers[0];
    assert_eq!(issuer.issuer, "https://id.example/realms/shop/", "to the letter");
    let discovery = "https://id.example/realms/shop/.well-known/openid-configuration";
    assert_eq!(issuer.discovery.to_string(), discovery);
    assert!(issuer.jwks.is_none() && issuer.claims.is_empty());
}

#[test]
fn each_value_is_explained() {
    let lines: Vec<String> = loaded(MANIFEST)
        .explain()
        .iter()
        .filter(|line| line.key.contains("auth") || line.key.contains("require"))
        .map(|line| format!("{} = {} ({})", line.key, line.value, line.place))
        .collect();
    expect![[r#"
        gateway.auth.issuers.0.issuer = "https://id.example/realms/shop/" (madang.toml:4)
        gateway.auth.issuers.0.audience = "shop" (madang.toml:4)
        gateway.auth.issuers.0.audience = "cart" (madang.toml:4)
        gateway.auth.issuers.0.jwks = "https://id.example/realms/shop/.well-known/openid-configuration" (default)
        gateway.auth.issuers.0.roles = "realm_access.roles" (madang.toml:4)
        gateway.auth.keys = { header = "x-key" } (madang.toml:3)
        gateway.auth.certificates = false (default)
        gateway.auth.leeway = "1m" (default)
        services.users.require.scope = "users:read" (madang.toml:8)
        services.users.require.scope = "users" (madang.toml:8)
        services.users.require.role = "admin" (madang.toml:8)
        services.users.require.claim.org.tenant = "acme" (madang.toml:8)
        routes.1.require = "none" (madang.toml:9)
        routes.2.require = "principal" (madang.toml:9)
    "#]].assert_eq(&(lines.join("\n") + "\n"));
}
