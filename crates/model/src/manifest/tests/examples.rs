//! What a good manifest becomes.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use expect_test::expect;

use super::{Memory, loaded};
use crate::{Database, Placement, Policy, PortRule, Protocol, System, manifest::load};

const SMALLEST: &str = r#"
[services.users]
run = "node users.js"
port = 3001
routes = ["/users/**"]

[services.orders]
run = "node orders.js"
port = 3002
routes = ["/orders/**"]
"#;

const TEAMS: &str = r#"
[system]
name = "shop"
include = ["*/service.toml"]

[gateway]
listen = "127.0.0.1:3000"

[services.legacy]
run = "legacy/start"

[services.cart]
run = "cart/start"

[[routes]]
path = "/cart/**"
to = { legacy = 95, cart = 5 }

[units.core]
services = ["users", "catalog"]
run = "target/release/shop"
env = { LOG = "debug" }
"#;

const ORDERS: &str = r#"
name = "orders"
owner = "checkout"
domain = "sales"
build = "cargo build --release -p shop-orders"
run = "../../target/release/shop-orders"
health = "/healthz"
listen = 3002
replicas = 2
database = "sqlite"
env = { SERVER_PORT = "${self.port}" }
calls = { users = {}, catalog = { timeout = "3s" } }
depends_on = ["users"]

[[routes]]
path = "/orders/**"
methods = ["GET", "POST"]
"#;

const USERS: &str = r#"
name = "users"
run = "users --port ${self.port}"
health = "/healthz"
env = { LOG = "info", USERS_ONLY = "1" }
database = "sqlite:data/users.db"
routes = ["/users/**"]
"#;

const CATALOG: &str = r#"
name = "catalog"
run = "catalog"
depends_on = ["users"]
protocol = "h2c"
"#;

fn teams() -> Memory {
    Memory::new([
        ("madang.toml", TEAMS),
        ("orders/service.toml", ORDERS),
        ("users/service.toml", USERS),
        ("catalog/service.toml", CATALOG),
        ("orders/Cargo.toml", "not = [a manifest"),
    ])
}

fn routes(system: &System) -> Vec<String> {
    let to = |route: &crate::Route| {
        route.to.iter().map(|to| format!("{}={}", to.service, to.weight)).collect::<Vec<_>>().join(",")
    };
    system.routes.iter().map(|route| format!("{} {} {}", route.place, route.path, to(route))).collect()
}

#[test]
fn the_smallest_manifest() {
    let system = loaded(SMALLEST).system;
    assert_eq!(system.name.as_str(), "shop", "named after its folder");
    assert_eq!(system.gateway.listen, "127.0.0.1:3000".parse::<SocketAddr>().unwrap());
    assert_eq!(system.policy_of_route(None, &"users".parse().unwrap()), Policy::default());
    let users = &system.units["users"];
    assert_eq!(users.port, PortRule::Fixed(3001));
    assert_eq!((users.replicas, users.run.as_str()), (1, "node users.js"));
    assert_eq!(users.folder, Path::new("/shop"));
    assert_eq!(routes(&system), ["madang.toml:5 /users/** users=1", "madang.toml:10 /orders/** orders=1"]);
}

#[test]
fn a_system_of_several_teams() {
    let system = teams().load().unwrap().system;
    let files: Vec<_> = system.files.iter().map(|file| file.to_string_lossy()).collect();
    assert_eq!(
        files,
        [
            "/shop/madang.toml",
            "/shop/catalog/service.toml",
            "/shop/orders/service.toml",
            "/shop/users/service.toml"
        ]
    );
    assert_eq!(
        routes(&system),
        [
            "madang.toml:16 /cart/** legacy=95,cart=5",
            "orders/service.toml:16 /orders/** orders=1",
            "users/service.toml:7 /users/** users=1",
        ]
    );
    let orders = &system.services["orders"];
    assert_eq!(orders.listen, Some("127.0.0.1:3002".parse().unwrap()));
    assert_eq!(orders.owner.as_deref(), Some("checkout"));
    assert_eq!(orders.domain.as_ref().map(crate::DomainName::as_str), Some("sales"));
    let timeout = |callee: &str| system.policy_of_call(&orders.name, &callee.parse().unwrap()).timeout;
    assert_eq!((timeout("catalog"), timeout("users")), (Duration::from_secs(3), Duration::from_secs(15)));
    assert_eq!(orders.database, Some(Database::Sqlite("/shop/.madang/data/orders.db".into())));
    let unit = &system.units["orders"];
    assert_eq!((unit.replicas, unit.port), (2, PortRule::Assigned));
    assert_eq!(unit.folder, Path::new("/shop/orders"), "paths are relative to the file that has them");
    assert_eq!(unit.env["SERVER_PORT"], "${self.port}", "resolved when an instance starts");
    assert_eq!(system.routes[1].methods, ["GET", "POST"]);
}

#[test]
fn placement_changes_who_runs_a_service_and_nothing_else() {
    let system = teams().load().unwrap().system;
    let core = &system.units["core"];
    assert_eq!(core.services.iter().map(|s| s.as_str()).collect::<Vec<_>>(), ["catalog", "users"]);
    assert_eq!((core.run.as_str(), core.health.as_deref()), ("target/release/shop", None));
    assert_eq!(core.folder, Path::new("/shop"));
    let env: BTreeMap<_, _> = core.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, BTreeMap::from([("LOG", "debug"), ("USERS_ONLY", "1")]), "the unit's own wins");
    assert!(core.depends_on.is_empty(), "catalog depends on users, which is in the same unit");
    assert_eq!(system.units["orders"].depends_on.first().unwrap().as_str(), "core");
    assert!(!system.units.contains_key("users"));
    assert_eq!(system.services["users"].unit().unwrap().as_str(), "core");
    assert_eq!(system.services["users"].database, Some(Database::Sqlite("/shop/users/data/users.db".into())));
    assert_eq!(system.services["catalog"].protocol, Protocol::H2c);
}

/// The manifests in this repository, from the disk.
#[test]
fn a_service_that_runs_elsewhere_is_called_like_any_other() {
    let system = loaded(
        r#"
        [services.mail]
        url = "https://Mail.Example/"
        protocol = "grpc"
        timeout = "2s"
        routes = ["/mail/**"]
        [services.orders]
        run = "orders"
        calls = ["mail"]
        "#,
    )
    .system;
    let mail = &system.services["mail"];
    assert_eq!(mail.placement, Placement::Elsewhere("https://mail.example".parse().unwrap()));
    assert_eq!((mail.unit(), mail.protocol), (None, Protocol::Grpc));
    assert_eq!(system.units.keys().map(|unit| unit.as_str()).collect::<Vec<_>>(), ["orders"]);
}

#[test]
fn the_shop_keeps_its_data_whatever_its_placement() {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shop");
    let load = |path: &Path| match load(path, &|_| None) {
        Ok(loaded) => loaded.system,
        Err(errors) => panic!("{}", super::rendered(&errors)),
    };
    let (apart, together) = (load(&shop), load(&shop.join("madang.monolith.toml")));
    assert_eq!((apart.units.len(), together.units.len()), (apart.services.len(), 1));
    assert_eq!((&apart.name, &apart.root, &apart.routes), (&together.name, &together.root, &together.routes));
    for (name, service) in &apart.services {
        assert_eq!(
            service.database.is_none(),
            name.as_str() == "storefront",
            "{name} keeps something, but for the pages"
        );
        assert_eq!(service.database, together.services[name].database);
        assert_eq!(service.listen, together.services[name].listen);
    }
}

#[test]
fn variables_are_substituted_everywhere() {
    let system = loaded(
        r#"
        [system]
        name = "${SYSTEM:-shop}"
        postgres = "postgres://shop:${PASSWORD}@localhost"
        [gateway]
        listen = "127.0.0.1:${PORT_BASE}80"
        [services.gift-cards]
        run = "gift --port ${self.port} --cost $$${PORT_BASE} $HOME"
        database = "postgres"
        listen = "${PORT_BASE}81"
        "#,
    )
    .system;
    assert_eq!(system.gateway.listen.port(), 4080);
    assert_eq!(system.services["gift-cards"].listen, Some("127.0.0.1:4081".parse().unwrap()));
    let url = "postgres://shop:hunter2@localhost/shop_gift_cards";
    assert_eq!(system.services["gift-cards"].database, Some(Database::Postgres(url.into())));
    assert_eq!(system.units["gift-cards"].run, "gift --port ${self.port} --cost $$40 $HOME");
}

#[test]
fn near_misses_of_the_rules_are_good() {
    loaded(
        r#"
        [services.a]
        run = "a"
        calls = ["b"]
        listen = "127.0.0.1:4000"
        [[services.a.routes]]
        path = "/x/{id}"
        methods = ["GET"]
        [[services.a.routes]]
        path = "/x/{name}"
        methods = ["GET", "POST"]
        [[services.a.routes]]
        path = "/x/{name}"
        headers = { x-beta = "1" }
        [[services.a.routes]]
        path = "/x/{name}"
        host = "*.shop.example"

        [services.b]
        run = "b"
        calls = { a = {} }
        depends_on = ["a"]
        listen = "127.0.0.2:4000"
        routes = ["/x/**", "/x/*/y", "/"]

        [services.worker]
        run = "w"
        port = false
        database = "postgres://worker@db/worker"
        calls = ["a"]
        "#,
    );
}

#[test]
fn it_is_known_where_the_calls_of_each_service_are_or_belong() {
    let system = teams().load().unwrap().system;
    let at = |name: &str| system.services[name].calls_at.to_string();
    assert_eq!(at("orders"), "orders/service.toml:12");
    assert_eq!(at("users"), "users/service.toml:2", "it has none: where its name is");
    let shop = loaded(&format!("{SMALLEST}\n[services.orders.calls.users]\ntimeout = \"1s\"\n")).system;
    let lines = SMALLEST.lines().count();
    assert_eq!(shop.services["orders"].calls_at.line, lines + 2);
    assert_eq!(shop.services["users"].calls_at.to_string(), "madang.toml:2");
}

#[test]
fn every_value_is_explained() {
    let loaded = teams().load().unwrap();
    let lines: Vec<_> =
        loaded.explain().iter().map(|e| format!("{} = {}  # {}\n", e.key, e.value, e.place)).collect();
    expect![[r#"
        system.name = "shop"  # madang.toml:3
        system.include = "*/service.toml"  # madang.toml:4
        gateway.listen = "127.0.0.1:3000"  # madang.toml:7
        admin.listen = "127.0.0.1:3900"  # default
        telemetry.keep = "7d"  # default
        telemetry.size = "512MiB"  # default
        telemetry.spans_per_second = 1000  # default
        telemetry.slow = "1s"  # default
        telemetry.log_lines_per_second = 1000  # default
        policy.timeout = "15s"  # default
        policy.attempt_timeout = "15s"  # default
        policy.connect_timeout = "5s"  # default
        policy.idle_timeout = "5m"  # default
        policy.retries = 2  # default
        policy.backoff.base = "25ms"  # default
        policy.backoff.cap = "250ms"  # default
        policy.retry_budget.percent = 20  # default
        policy.retry_budget.floor = 10  # default
        policy.parked = 1024  # default
        policy.hedge = false  # default
        policy.ejection = true  # default
        policy.ejection.failures = 5  # default
        policy.ejection.success_rate = 80  # default
        policy.ejection.slow = "1s"  # default
        policy.ejection.slow_rate = 100  # default
        policy.ejection.window = "10s"  # default
        policy.ejection.minimum = 5  # default
        policy.ejection.base = "1s"  # default
        policy.ejection.cap = "1m"  # default
        policy.ejection.at_most = 50  # default
        policy.ejection.panic = 50  # default
        policy.breaker = false  # default
        policy.concurrency = false  # default
        policy.per_caller = false  # default
        policy.priority = "normal"  # default
        policy.fallback = false  # default
        policy.faults = []  # default
        services.cart.name = "cart"  # madang.toml:12
        services.cart.protocol = "http"  # default
        services.catalog.name = "catalog"  # catalog/service.toml:2
        services.catalog.protocol = "h2c"  # catalog/service.toml:5
        services.legacy.name = "legacy"  # madang.toml:9
        services.legacy.protocol = "http"  # default
        services.orders.name = "orders"  # orders/service.toml:2
        services.orders.owner = "checkout"  # orders/service.toml:3
        services.orders.domain = "sales"  # orders/service.toml:4
        services.orders.listen = "127.0.0.1:3002"  # orders/service.toml:8
        services.orders.protocol = "http"  # default
        services.orders.calls.users = {}  # orders/service.toml:12
        services.orders.calls.catalog = {}  # orders/service.toml:12
        services.orders.calls.catalog.timeout = "3s"  # orders/service.toml:12
        services.orders.database = "sqlite:/shop/.madang/data/orders.db"  # orders/service.toml:10
        services.users.name = "users"  # users/service.toml:2
        services.users.protocol = "http"  # default
        services.users.database = "sqlite:/shop/users/data/users.db"  # users/service.toml:6
        units.core.services = "users"  # madang.toml:20
        units.core.services = "catalog"  # madang.toml:20
        units.core.run = "target/release/shop"  # madang.toml:21
        units.core.port = assigned  # default
        units.core.replicas = 1  # default
        units.core.env.LOG = "debug"  # madang.toml:22
        units.core.env.USERS_ONLY = "1"  # users/service.toml:5
        units.core.depends_on = "users"  # catalog/service.toml:4
        services.cart.run = "cart/start"  # madang.toml:13
        services.cart.port = assigned  # default
        services.cart.replicas = 1  # default
        services.legacy.run = "legacy/start"  # madang.toml:10
        services.legacy.port = assigned  # default
        services.legacy.replicas = 1  # default
        services.orders.run = "../../target/release/shop-orders"  # orders/service.toml:6
        services.orders.build = "cargo build --release -p shop-orders"  # orders/service.toml:5
        services.orders.health = "/healthz"  # orders/service.toml:7
        services.orders.port = assigned  # default
        services.orders.replicas = 2  # orders/service.toml:9
        services.orders.env.SERVER_PORT = "${self.port}"  # orders/service.toml:11
        services.orders.depends_on = "users"  # orders/service.toml:13
        routes.0.path = "/cart/**"  # madang.toml:16
        routes.0.to.legacy = 95  # madang.toml:17
        routes.0.to.cart = 5  # madang.toml:17
        routes.1.path = "/orders/**"  # orders/service.toml:16
        routes.1.methods = "GET"  # orders/service.toml:17
        routes.1.methods = "POST"  # orders/service.toml:17
        routes.1.to.orders = 1  # orders/service.toml:16
        routes.2.path = "/users/**"  # users/service.toml:7
        routes.2.to.users = 1  # users/service.toml:7
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn an_explanation_tells_no_secret() {
    let loaded = loaded(
        r#"
        [system]
        postgres = "postgres://shop:${PASSWORD}@localhost"
        [telemetry.forward]
        url = "https://telemetry.example/otlp/"
        headers = { Authorization = "Bearer ${PASSWORD}" }
        [services.a]
        run = "a"
        env = { KEY = "${PASSWORD}" }
        database = "postgres"
        [services.b]
        run = "b"
        database = "postgres://b@localhost/b?password=${PASSWORD}"
        "#,
    );
    let told = serde_json::to_string(loaded.explain()).unwrap();
    let forward = loaded.system.telemetry.forward.as_ref().unwrap();
    assert_eq!(
        (forward.url.path.as_str(), forward.headers["authorization"].as_str()),
        ("/otlp", "Bearer hunter2")
    );
    let told = format!("{told} {forward:?} {}", serde_json::to_string(&loaded.system.telemetry).unwrap());
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("${PASSWORD}") && told.contains("postgres://shop:***@localhost/shop_a"), "{told}");
}

#[test]
fn a_service_that_others_start_has_no_unit_and_may_call() {
    let system = loaded(
        "[services.pos]\nrun = false\nlisten = 3009\ncalls = [\"users\"]\nroutes = [\"/pos/**\"]\n[services.users]\nrun = \"users\"\n",
    )
    .system;
    let pos = &system.services["pos"];
    assert_eq!(pos.placement, Placement::Joins);
    assert!(pos.unit().is_none() && pos.url().is_none());
    assert_eq!(system.units.len(), 1);
}
