//! Whatever the files hold, loading ends with a system or with errors that can be shown.

use proptest::prelude::*;

use super::{Memory, rendered};
use crate::manifest::files::{Files, matching};

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
    "depends_on = [\"a\"]",
    "depends_on = [\"b\", \"c\"]",
    "database = \"sqlite\"",
    "database = \"sqlite:/\"",
    "database = \"postgres\"",
    "database = \"postgres://@/?@x/y\"",
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
                assert!(system.units[&service.unit].services.contains(&service.name));
                assert!(service.calls.keys().all(|name| system.services.contains_key(name)));
            }
            let hosted: usize = system.units.values().map(|unit| unit.services.len()).sum();
            assert_eq!(hosted, system.services.len(), "each service is in exactly one unit");
            let targets = system.routes.iter().flat_map(|route| &route.to);
            assert!(targets.clone().all(|to| system.services.contains_key(&to.service)));
            assert!(system.routes.iter().all(|route| route.to.iter().any(|to| to.weight > 0)));
            assert!(!loaded.explain().is_empty());
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
