//! The list of keys, the reader and the JSON Schema agree.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Memory, env};
use crate::manifest::{
    error::Found,
    keys::{
        self, ADMIN, CALL, FORWARD, GATEWAY, MANIFEST, POLICY, ROUTE, ROUTE_POLICY, SERVICE, SERVICE_FILE,
        SYSTEM, TELEMETRY, Table, UNIT,
    },
    schema,
    source::Source,
    tree,
};

/// Every key with a value other than the default, so that one that nobody reads is missed.
const EVERYTHING: &str = r#"
[system]
name = "everything"
include = ["service.toml"]
postgres = "postgres://db"

[gateway]
cache_size = "8MiB"
listen = 4000
timeout = "1s"
trusted_proxies = { networks = ["10.0.0.0/8"], header = "forwarded" }
limit_store = { url = "rediss://limits.example:7000/2" }

[gateway.edge]
rate_limit = [{ rate = "100/m", burst = 7, per = "header:x-a", name = "many", shared = { when_down = "refuse" } }, "5/s"]
max_body = "1MiB"
cors = { origins = ["https://shop.example"], methods = ["GET"], headers = ["x-a"], expose = ["etag"], credentials = true, max_age = "1h" }
path = { strip = "/api", add = "/v2" }
request_headers = { remove = ["x-a"], set = { x-b = "{address}" }, add = { x-c = "1" } }
answer_headers = { remove = ["server"] }
mirror = { to = "m", percent = 5, methods = ["POST"], max_body = "1KiB", at_once = 3 }
compress = { with = ["gzip"], types = ["text/html"], min = "2KiB", beside_secrets = true }
problems = { statuses = [500], detail = true }
cache = { ttl = "10s", max_ttl = "1h", stale_while_revalidate = "5s", stale_if_error = "1m", vary = ["x-tenant"], tags = ["all"], max_body = "1KiB" }

[gateway.auth]
keys = true
certificates = true
leeway = "5s"
built_in = true

[gateway.login]
issuer = "https://id.example"
client = "a"
url = "https://a.example"
scope = "b"
session = "1h"

[issuer]
listen = 4910
url = "https://b.example"
users = "a"
lifetime = "1m"
origins = ["https://app.example"]

[issuer.clients.c]
redirects = ["https://c.example/"]
after_logout = ["https://c.example/out"]
scopes = ["c"]
grants = ["authorization_code"]

[[gateway.auth.issuers]]
issuer = "https://id.example"
jwks = "https://id.example/keys"
audience = "a"
roles = "b"
claims = ["c"]

[gateway.tls]
certificates = [{ certificate = "a.pem", key = "a.key" }]
development = true
min_version = "1.3"
redirect = 4080
client_ca = "clients.pem"
clients = "optional"
client_crl = "revoked.pem"

[gateway.tls.acme]
domains = ["a.example"]
terms = "agreed"
contact = "ops@a.example"
directory = "https://acme.example/directory"
challenge = "http-01"
ca = "acme.pem"
external_account = { id = "a", key = "${secret.acme}" }

[admin]
listen = 4900

[telemetry]
keep = "2d"
size = "1GiB"
spans_per_second = 10
slow = "2s"
log_lines_per_second = 20
metrics = 9464

[telemetry.forward]
url = "https://telemetry.example/otlp"
protocol = "http/protobuf"
headers = { authorization = "Bearer x" }

[policy]
timeout = "9s"
attempt_timeout = "8s"
connect_timeout = "7s"
idle_timeout = "6s"
retries = 1
parked = 10
hedge = "p90"
concurrency = 100
per_caller = "adaptive"
priority = "critical"
fallback = { last_good = "5m" }
faults = [{ on = "GET /x", percent = 1, delay = "1s" }]

[policy.backoff]
base = "1ms"
cap = "2ms"

[policy.retry_budget]
percent = 1
floor = 2

[policy.ejection]
failures = 1
success_rate = 2
slow_rate = 3
slow = "4s"
window = "5s"
minimum = 6
base = "7s"
cap = "8s"
at_most = 9
panic = 10

[policy.breaker]
failures = 1
failure_rate = 2
slow_rate = 3
slow = "4s"
window = "5s"
minimum = 6
open = "7s"
cap = "8s"
probes = 9

[services.a]
owner = "team"
domain = "sales"
run = "a"
build = "build a"
health = "/healthz"
port = 4001
env = { A = "1" }
listen = 4002
protocol = "h2c"
timeout = "2s"
database = "postgres"
depends_on = ["b"]
requires = ["java"]
require = "none"
routes = ["/a"]

[services.a.policy]
faults = [{ status = 503 }, { hang = true }, { lose_reply = true }, { kill = true }]
fallback = { body = "", content_type = "text/html", status = 204 }

[services.a.policy.concurrency]
limit = "adaptive"
least = 2
most = 3
queue = 4
wait = "5s"

[services.a.calls.b]
timeout = "3s"
attempt_timeout = "2s"
connect_timeout = "7s"
idle_timeout = "6s"
retries = 0
backoff = { base = "1ms", cap = "2ms" }
retry_budget = { percent = 1, floor = 2 }
parked = 10
hedge = "50ms"
ejection = false
breaker = true
concurrency = { limit = 4, queue = 0 }
priority = "best-effort"
fallback = { json = "[]", status = 203 }
faults = [{ hang = true }]

[services.m]
url = "https://mail.example"
edge = { problems = true }
require = "none"

[services.c]
run = "c"
replicas = 2

[[services.c.routes]]
path = "/c/{id}"
host = "shop.example"
methods = ["GET"]
headers = { x-a = "1" }
to = { c = 2, a = 1 }
sticky = { cookie = "variant", max_age = "1d" }
edge = { rate_limit = false }
require = "principal"
timeout = "4s"

[services.c.routes.policy]
attempt_timeout = "2s"
connect_timeout = "7s"
idle_timeout = "6s"
retries = 0
backoff = { base = "1ms", cap = "2ms" }
retry_budget = { percent = 1, floor = 2 }
parked = 10
hedge = false
ejection = { failures = 3 }
breaker = false
concurrency = false
priority = "normal"
fallback = false
faults = []

[services.d]

[[routes]]
path = "/d"
to = "d"
host = "shop.example"
methods = ["GET"]
headers = { x-a = "1" }
policy = { timeout = "4s" }

[routes.require]
scope = "a"
role = ["b"]
claim = { c = "d" }

[[routes]]
path = "/old/**"
redirect = { to = "/d/{rest}{query}", status = 301 }

[[compositions]]
name = "page"
path = "/pages/{id}"
host = "shop.example"
headers = { x-a = "1" }
timeout = "2s"
require = "none"
pass = ["x-b"]
edge = { rate_limit = "9/s" }

[compositions.calls.order]
to = "c"
path = "/orders/{id}"
query = { full = "true" }
optional = true
timeout = "1s"

[[compositions.answer]]
headers = { x-client = "mobile" }
shape = "order.id"

[[compositions.answer]]
shape = "order"

[units.u]
services = ["d"]
run = "u"
build = "build u"
port = 4003
health = "/healthz"
env = { B = "1" }
depends_on = ["b"]
requires = ["./bin/u"]

[units.v]
services = ["e"]
run = "v"
replicas = 3

[services.e]
"#;

const SERVICE_TOML: &str = r#"
name = "b"
owner = "team"
domain = "sales"
run = "b"
build = "build b"
health = "/healthz"
replicas = 2
env = { A = "1" }
listen = 4004
protocol = "h2c"
timeout = "2s"
policy = { retries = 1 }
calls = ["a"]
edge = { compress = false }
database = "sqlite"
depends_on = ["e"]
requires = ["b"]
require = { scope = "a" }

[[routes]]
path = "/b"

[[compositions]]
name = "other-page"
path = "/other"
answer = "a"
calls = { a = { path = "/a" } }
"#;

/// The keys that a schema's definition has.
fn in_schema(table: &Table) -> BTreeSet<String> {
    let schema = schema();
    let properties = schema["$defs"][table.schema]["properties"].as_object().unwrap();
    assert_eq!(schema["$defs"][table.schema]["additionalProperties"], Value::Bool(false));
    properties.keys().cloned().collect()
}

#[test]
fn the_schema_has_exactly_the_keys_of_the_parser() {
    for table in keys::TABLES {
        let keys: BTreeSet<String> = table.keys().map(|key| key.name.to_owned()).collect();
        assert_eq!(keys, in_schema(table), "{}", table.noun);
        assert_eq!(keys.len(), table.keys().count(), "{} has a key twice", table.noun);
        assert!(
            table.keys().all(|key| key.doc.ends_with('.')),
            "{}: each key says what it is for",
            table.noun
        );
    }
}

/// What `explain` shows comes from what the system is built of: each key of a manifest that has them all must
/// leave a line there that names its file and line.
#[test]
fn every_key_is_read() {
    let files = [("madang.toml", EVERYTHING), ("service.toml", SERVICE_TOML)];
    let secrets = ("madang-secrets.toml", "version = 1\nkey = \"0011\"\n[sealed]\nacme = \"00\"\n");
    let loaded = match Memory::new(files.into_iter().chain([secrets])).load() {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{}", super::rendered(&errors)),
    };
    let places: BTreeSet<String> = loaded.explain().iter().map(|line| line.place.to_string()).collect();
    for (file, text) in files {
        for (index, line) in text.lines().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            // A service's own commands stay unread beside a unit; these manifests have none of those.
            assert!(
                places.contains(&format!("{file}:{}", index + 1)),
                "{key} in {file}:{} is never read",
                index + 1
            );
        }
    }
}

/// Nor is a key forgotten by the manifest above.
#[test]
fn every_key_is_tried() {
    let tree = |text: &str| {
        let source = Source::new(0, "/shop/x.toml".as_ref(), "/shop".as_ref(), text.to_owned());
        tree::parse(&source, &mut Found::default()).unwrap()
    };
    let (manifest, file) = (tree(EVERYTHING), tree(SERVICE_TOML));
    let keys = |nodes: &[&tree::Node]| -> BTreeSet<String> {
        nodes.iter().flat_map(|node| node.entries()).map(|entry| entry.key.clone()).collect()
    };
    let services: Vec<_> = manifest.get("services").unwrap().entries().iter().map(|e| &e.node).collect();
    let units: Vec<_> = manifest.get("units").unwrap().entries().iter().map(|e| &e.node).collect();
    let policies = |nodes: &[&tree::Node]| -> Vec<tree::Node> {
        nodes.iter().filter_map(|node| node.get("policy").cloned()).collect()
    };
    let default = manifest.get("policy").unwrap();
    let mut routes: Vec<_> = manifest.get("routes").unwrap().items().iter().collect();
    routes.extend(services.iter().filter_map(|service| service.get("routes")).flat_map(|list| list.items()));
    let mut service_policies = policies(&services);
    service_policies.push(default.clone());
    let calls = services.iter().filter_map(|service| service.get("calls")).flat_map(|calls| calls.entries());
    let calls: Vec<_> = calls.map(|call| &call.node).collect();
    assert_eq!(keys(&[&manifest]), in_schema(&MANIFEST));
    assert_eq!(keys(&[manifest.get("system").unwrap()]), in_schema(&SYSTEM));
    assert_eq!(keys(&[manifest.get("gateway").unwrap()]), in_schema(&GATEWAY));
    let auth = manifest.get("gateway").unwrap().get("auth").unwrap();
    assert_eq!(keys(&[auth]), in_schema(&keys::AUTH));
    assert_eq!(keys(&[&auth.get("issuers").unwrap().items()[0]]), in_schema(&keys::ISSUER));
    let required: Vec<_> = routes.iter().filter_map(|route| route.get("require")).collect();
    assert_eq!(keys(&required), in_schema(&keys::REQUIRE));
    let tls = manifest.get("gateway").unwrap().get("tls").unwrap();
    assert_eq!(keys(&[tls]), in_schema(&keys::TLS));
    let acme = tls.get("acme").unwrap();
    assert_eq!(keys(&[acme]), in_schema(&keys::ACME));
    assert_eq!(keys(&[acme.get("external_account").unwrap()]), in_schema(&keys::EXTERNAL_ACCOUNT));
    let edge = manifest.get("gateway").unwrap().get("edge").unwrap();
    assert_eq!(keys(&[edge]), in_schema(&keys::EDGE));
    assert_eq!(keys(&[&edge.get("rate_limit").unwrap().items()[0]]), in_schema(&keys::RATE_LIMIT));
    for (key, table) in [
        ("cors", &keys::CORS),
        ("path", &keys::PATH_EDIT),
        ("request_headers", &keys::HEADER_EDITS),
        ("mirror", &keys::MIRROR),
        ("compress", &keys::COMPRESS),
        ("problems", &keys::PROBLEMS),
        ("cache", &keys::CACHE),
    ] {
        assert_eq!(keys(&[edge.get(key).unwrap()]), in_schema(table), "{key}");
    }
    let redirect = routes.iter().find_map(|route| route.get("redirect")).unwrap();
    assert_eq!(keys(&[redirect]), in_schema(&keys::REDIRECT));
    let sticky = routes.iter().find_map(|route| route.get("sticky")).unwrap();
    let tried = keys(&[sticky]).into_iter().chain(["header".to_owned()]).collect::<BTreeSet<_>>();
    assert_eq!(tried, in_schema(&keys::STICKY), "a header instead");
    let composition = &manifest.get("compositions").unwrap().items()[0];
    assert_eq!(keys(&[composition]), in_schema(&keys::COMPOSITION));
    assert_eq!(keys(&[&composition.get("calls").unwrap().entries()[0].node]), in_schema(&keys::PART));
    assert_eq!(keys(&[&composition.get("answer").unwrap().items()[0]]), in_schema(&keys::ANSWER));
    let telemetry = manifest.get("telemetry").unwrap();
    assert_eq!(keys(&[telemetry]), in_schema(&TELEMETRY));
    assert_eq!(keys(&[telemetry.get("forward").unwrap()]), in_schema(&FORWARD));
    assert_eq!(keys(&[manifest.get("admin").unwrap()]), in_schema(&ADMIN));
    assert_eq!(keys(&services), in_schema(&SERVICE));
    assert_eq!(keys(&units), in_schema(&UNIT));
    assert_eq!(keys(&routes), in_schema(&ROUTE));
    assert_eq!(keys(&calls), in_schema(&CALL));
    assert_eq!(keys(&policies(&routes).iter().collect::<Vec<_>>()), in_schema(&ROUTE_POLICY));
    let service_policies: Vec<_> = service_policies.iter().collect();
    assert_eq!(keys(&service_policies), in_schema(&POLICY));
    for (key, table) in [
        ("backoff", &keys::BACKOFF),
        ("retry_budget", &keys::RETRY_BUDGET),
        ("ejection", &keys::EJECTION),
        ("breaker", &keys::BREAKER),
        ("concurrency", &keys::CONCURRENCY),
    ] {
        let tables: Vec<_> = service_policies.iter().filter_map(|policy| policy.get(key)).collect();
        assert_eq!(keys(&tables), in_schema(table), "{key}");
    }
    let missing: Vec<_> = in_schema(&SERVICE_FILE).difference(&keys(&[&file])).cloned().collect();
    assert_eq!(missing, ["port", "url"], "which has no replicas or program beside it");
    assert!(env("NONE").is_none());
}
