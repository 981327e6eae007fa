//! Whatever the files hold, loading ends with a system or with errors that can be shown.

use proptest::prelude::*;

use super::{Memory, rendered};
use crate::manifest::{
    Code,
    files::{Files, matching},
};

/// Lines of which manifests, good and bad, are made.
const LINES: &[&str] = &[
    "[system]",
    "name = \"shop\"",
    "include = [\"*/service.toml\", \"*\"]",
    "include = [\"../a\", \"/\", \".\"]",
    "postgres = \"postgres://${PASSWORD}@db\"",
    "[gateway]",
    "listen = 3000",
    "listen = \"[::]:0\"",
    "timeout = \"3s\"",
    "timeout = \"99999999999999999d\"",
    "[gateway.auth]",
    "keys = { header = \"x\" }",
    "issuers = [{ issuer = \"https://a\", audience = \"a\" }, {}]",
    "require = { scope = [], claim = { a = \"b\" } }",
    "require = \"none\"",
    "[gateway.tls]",
    "development = true",
    "certificates = [{ certificate = \"a\", key = \"b\" }, {}]",
    "acme = { domains = [\"a.example\", \"*.b\"], terms = \"agreed\" }",
    "[services.a]",
    "[services.b]",
    "[services.c]",
    "[services.\"한\"]",
    "[[services]]",
    "run = \"a ${self.port} $$ $ ${\"",
    "run = 'x'",
    "build = \"${X:-}}\"",
    "port = 1",
    "port = false",
    "port = -9223372036854775808",
    "replicas = 3",
    "replicas = 1e400",
    "env = { A = \"1\", \"\" = \"\" }",
    "env.A.b = 3",
    "calls = [\"a\", \"b\"]",
    "calls = { a = { timeout = \"1s\" }, c = {} }",
    "calls = { a = { retries = 3, breaker = { failures = 1 }, concurrency = { queue = 2 } } }",
    "[policy]",
    "[services.a.policy]",
    "attempt_timeout = \"20s\"",
    "hedge = \"p95\"",
    "breaker = true",
    "breaker = { slow_rate = 50, slow = \"1s\", cap = \"1ms\" }",
    "ejection = { at_most = 100, panic = 0 }",
    "concurrency = { limit = \"adaptive\", most = 1 }",
    "per_caller = 5",
    "fallback = { json = '{}', status = 200 }",
    "faults = [{ on = \"GET /x\", hang = true }, { kill = true }, {}]",
    "depends_on = [\"a\"]",
    "depends_on = [\"b\", \"c\"]",
    "database = \"sqlite\"",
    "database = \"sqlite:/\"",
    "database = \"postgres\"",
    "database = \"postgres://@/?@x/y\"",
    "url = \"https://mail.example\"",
    "url = \"http://[::1]:0/x\"",
    "routes = [\"/a\", { path = \"/a/{x}\" }]",
    "[[routes]]",
    "path = \"/%\"",
    "path = \"/é/**\"",
    "to = { a = 0, b = 1 }",
    "to = \"c\"",
    "methods = [\"GET\", 1]",
    "headers = { A = \"1\", a = \"2\" }",
    "[units.u]",
    "[units.a]",
    "services = [\"a\", \"b\", \"a\"]",
    "services = []",
    "x = 1979-05-27",
    "\"",
    "[",
    "]]",
    "a.b.c.d = { e = [[[{}]]] }",
    "\u{feff}",
    "#",
    "name = '''",
    "\0",
];

fn load(manifest: &str, service: &str) {
    let files = Memory::new([("madang.toml", manifest), ("a/service.toml", service)]);
    match files.load() {
        Ok(loaded) => {
            let system = &loaded.system;
            for service in system.services.values() {
                let hosts = |unit| system.units[unit].services.contains(&service.name);
                assert!(service.unit().is_none_or(hosts), "{} is in its unit", service.name);
                assert!(service.calls.keys().all(|name| system.services.contains_key(name)));
            }
            let hosted: usize = system.units.values().map(|unit| unit.services.len()).sum();
            let placed = system.services.values().filter(|service| service.url().is_none());
            assert_eq!(hosted, placed.count(), "each service that runs here is in exactly one unit");
            let targets = system.routes.iter().flat_map(|route| &route.to);
            assert!(targets.clone().all(|to| system.services.contains_key(&to.service)));
            assert!(system.routes.iter().all(|route| route.to.iter().any(|to| to.weight > 0)));
            assert!(!loaded.explain().is_empty());
            for (caller, service) in &system.services {
                for callee in service.calls.keys() {
                    let policy = system.policy_of_call(caller, callee);
                    assert!(
                        policy.attempt_timeout <= policy.timeout && policy.backoff.base <= policy.backoff.cap
                    );
                    assert!(!system.explain_call(caller, callee).is_empty());
                }
            }
        }
        Err(errors) => assert!(!rendered(&errors).is_empty()),
    }
}

proptest! {
    #[test]
    fn any_text_is_a_system_or_errors(manifest in "\\PC{0,80}", service in "(.|\n){0,80}") {
        load(&manifest, &service);
    }

    #[test]
    fn any_bytes_are_a_system_or_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        load(&String::from_utf8_lossy(&bytes), "");
    }

    #[test]
    fn any_lines_are_a_system_or_errors(
        manifest in proptest::collection::vec(proptest::sample::select(LINES), 0..24),
        service in proptest::collection::vec(proptest::sample::select(LINES), 0..8),
    ) {
        load(&manifest.join("\n"), &service.join("\n"));
    }

    #[test]
    fn an_include_means_files_that_exist(pattern in "[a*./]{0,12}") {
        let files = Memory::new([("a/a", ""), ("a/.a", ""), ("aa", ""), ("b/a", "")]);
        for path in matching(&pattern, "/shop".as_ref(), &files) {
            prop_assert!(files.read(&path).is_ok() || files.list(&path).is_ok());
        }
    }
}

// === unreachable routes ===

/// A route in the words of this test: host, path, methods, header.
type Tried = (Option<&'static str>, Vec<&'static str>, &'static [&'static str], bool);

fn route() -> impl Strategy<Value = Tried> {
    let segment = proptest::sample::select(&["a", "b", "*", "{x}", "{y}"][..]);
    let path = (proptest::collection::vec(segment, 1..3), any::<bool>()).prop_map(|(mut path, rest)| {
        if rest {
            path.push("**");
        }
        path.iter()
            .enumerate()
            .any(|(i, s)| s.starts_with('{') && path[..i].contains(s))
            .then(|| path[0] = "*");
        path
    });
    let methods: Vec<&'static [&'static str]> = vec![&[], &["GET"], &["POST"], &["GET", "POST"]];
    let methods = proptest::sample::select(methods);
    (proptest::option::of(Just("h")), path, methods, any::<bool>())
}

fn written((host, path, methods, header): &Tried) -> String {
    let host = host.map_or(String::new(), |host| format!(", host = \"{host}\""));
    let header = if *header { ", headers = { x = \"1\" }" } else { "" };
    format!("{{ path = \"/{}\", to = \"s\", methods = {methods:?}{host}{header} }}", path.join("/"))
}

/// Whether a path matches, segment by segment.
fn path_matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        (["**"], _) | ([], []) => true,
        ([first, pattern @ ..], [segment, path @ ..]) => {
            (first == segment || *first == "*" || first.starts_with('{')) && path_matches(pattern, path)
        }
        _ => false,
    }
}

/// The route that wins a request by the precedence of the Gateway API: host, path, method, headers, order.
fn winner(routes: &[Tried], host: &str, path: &[&str], method: &str, header: bool) -> Option<usize> {
    let matching = routes.iter().enumerate().filter(|(_, (h, p, m, with))| {
        h.is_none_or(|h| h == host)
            && path_matches(p, path)
            && (m.is_empty() || m.contains(&method))
            && (!with || header)
    });
    let rank = |segment: &&str| match *segment {
        "**" => 2,
        s if s == "*" || s.starts_with('{') => 1,
        _ => 0,
    };
    let best = matching.min_by_key(|(index, (h, p, m, with))| {
        (h.is_none(), p.iter().map(rank).collect::<Vec<_>>(), m.is_empty(), !with, *index)
    });
    best.map(|(index, _)| index)
}

proptest! {
    /// Against every request there is over two segments, hosts and methods: what is refused never wins.
    #[test]
    fn a_route_that_is_refused_never_wins(routes in proptest::collection::vec(route(), 1..7)) {
        let lines: Vec<_> = routes.iter().map(written).collect();
        let manifest = format!("routes = [\n{}\n]\n[services.s]\nrun = \"s\"\n", lines.join(",\n"));
        let refused: Vec<usize> = match Memory::new([("madang.toml", manifest.as_str())]).load() {
            Ok(_) => Vec::new(),
            Err(errors) => {
                prop_assert!(errors.iter().all(|error| error.kind() == Code::UNREACHABLE_ROUTE), "{}", rendered(&errors));
                errors.iter().map(|error| error.place().unwrap().line - 2).collect()
            }
        };
        let segments = [&[][..], &["a"], &["b"], &["c"], &["a", "a"], &["a", "b"], &["b", "a"], &["b", "b"], &["c", "c"], &["a", "b", "c"], &["c", "c", "c", "c"]];
        for (host, path, method, header) in requests(&["h", "other"], &segments, &["GET", "POST", "PUT"]) {
            if let Some(winner) = winner(&routes, host, path, method, header) {
                prop_assert!(!refused.contains(&winner), "{} wins {method} {host} {path:?} {header}", lines[winner]);
            }
        }
        // And the plainest case is never missed: the same line twice.
        for (index, line) in lines.iter().enumerate() {
            prop_assert!(!lines[..index].contains(line) || refused.contains(&index), "{line} comes twice");
        }
    }
}

/// Every request: host, path, method, with and without the header.
fn requests<'a>(
    hosts: &'a [&'a str],
    paths: &'a [&'a [&'a str]],
    methods: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, &'a [&'a str], &'a str, bool)> {
    hosts.iter().flat_map(move |host| {
        paths.iter().flat_map(move |path| {
            methods.iter().flat_map(move |method| [true, false].map(|header| (*host, *path, *method, header)))
        })
    })
}
