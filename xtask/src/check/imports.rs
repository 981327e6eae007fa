//! Which room may import which: the table, and its check against `cargo metadata`.
//!
//! The table here is the only one; `docs/ARCHITECTURE.md` shows it, and a test keeps the two equal.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::{self, cargo};

/// One crate of the workspace and what it may import of the others.
#[derive(Clone, Copy)]
struct Room {
    folder: &'static str,
    package: &'static str,
    purpose: &'static str,
    may: &'static [&'static str],
    /// What only its tests may import beyond that; any room may be tested with the testkit.
    tests: &'static [&'static str],
    /// Crates from outside that would break what the room promises never to do.
    never: &'static [&'static str],
}

impl Room {
    const fn new(
        folder: &'static str,
        package: &'static str,
        purpose: &'static str,
        may: &'static [&'static str],
    ) -> Self {
        Self { folder, package, purpose, may, tests: &[], never: &[] }
    }

    const fn tested_with(mut self, tests: &'static [&'static str]) -> Self {
        self.tests = tests;
        self
    }

    /// No network, no async, no processes.
    const fn inert(mut self) -> Self {
        self.never = &["axum", "hyper", "hyper-util", "rusqlite", "rustix", "sqlx", "tokio", "tower"];
        self
    }
}

const MODEL: &str = "madang-model";
const WIRE: &str = "madang-wire";
const STORE: &str = "madang-store";
const CALLS: &str = "madang-calls";
const DISCOVERY: &str = "madang-discovery";
const ISSUER: &str = "madang-issuer";
const GATEWAY: &str = "madang-gateway";
const TELEMETRY: &str = "madang-telemetry";
const SUPERVISOR: &str = "madang-supervisor";
const DASHBOARD: &str = "madang-dashboard";
const NODE: &str = "madang-node";
const SDK: &str = "madang";
const TESTKIT: &str = "madang-testkit";
const MONEY: &str = "shop-money";
const IDEMPOTENCY: &str = "shop-idempotency";
const USERS: &str = "shop-users";
const CATALOG: &str = "shop-catalog";
const ORDERS: &str = "shop-orders";
const PAYMENTS: &str = "shop-payments";
const PAYMENTS_API: &str = "shop-payments-api";
const LOAD: &str = "shop-load";
const STOREFRONT: &str = "shop-storefront";

const ROOMS: &[Room] = &[
    Room::new("crates/model", MODEL, "names, durations, manifest → validated `System`", &[]).inert(),
    Room::new("crates/wire", WIRE, "every type that crosses a process", &[MODEL]).inert(),
    Room::new("crates/store", STORE, "`state.db`: migrations, the group-commit writer", &[MODEL]),
    Room::new("crates/calls", CALLS, "one resilient HTTP call, as tower layers", &[MODEL, WIRE]),
    Room::new(
        "crates/discovery",
        DISCOVERY,
        "who runs where: registry, versions, watch",
        &[MODEL, WIRE, STORE, CALLS],
    ),
    Room::new("crates/issuer", ISSUER, "an issuer of tokens for development", &[MODEL, WIRE, STORE]),
    Room::new("crates/gateway", GATEWAY, "listeners, workers, routes, doors", &[MODEL, WIRE, CALLS]),
    Room::new("crates/telemetry", TELEMETRY, "log files and request records", &[MODEL, WIRE, STORE]),
    Room::new(
        "crates/supervisor",
        SUPERVISOR,
        "`reconcile` (pure), units, health, back-off",
        &[MODEL, WIRE, STORE, CALLS],
    ),
    Room::new(
        "crates/dashboard",
        DASHBOARD,
        "the web pages, over the admin API's types only",
        &[MODEL, WIRE],
    ),
    Room::new(
        "crates/node",
        NODE,
        "the composition: `build` → `run`; the admin and service APIs",
        &[MODEL, WIRE, STORE, CALLS, DISCOVERY, ISSUER, GATEWAY, TELEMETRY, SUPERVISOR, DASHBOARD],
    ),
    Room::new("crates/sdk", SDK, "what a service author imports", &[MODEL, WIRE, CALLS]),
    Room::new("crates/cli", "madang-cli", "the `madang` command", &[MODEL, WIRE, NODE]),
    Room::new("crates/testkit", TESTKIT, "a whole system in a test", &[MODEL, WIRE, NODE, SDK])
        .tested_with(&[PAYMENTS_API]),
    Room::new("shop/money", MONEY, "the shop's amounts of money", &[SDK]),
    Room::new("shop/idempotency", IDEMPOTENCY, "keys by which the shop does a thing once", &[SDK]),
    Room::new("shop/users", USERS, "the shop's users", &[SDK, MONEY, IDEMPOTENCY]),
    Room::new("shop/catalog", CATALOG, "the shop's products and stock", &[SDK, MONEY, IDEMPOTENCY]),
    Room::new("shop/orders", ORDERS, "the shop's orders", &[SDK, MONEY, IDEMPOTENCY, PAYMENTS_API])
        .tested_with(&[USERS, CATALOG, PAYMENTS]),
    Room::new(
        "shop/payments",
        PAYMENTS,
        "the shop's accounts and ledger",
        &[SDK, MONEY, IDEMPOTENCY, PAYMENTS_API],
    ),
    Room::new("shop/payments-api", PAYMENTS_API, "the contract of payments over gRPC", &[]),
    Room::new("shop/storefront", STOREFRONT, "the shop's pages", &[SDK, MONEY, IDEMPOTENCY])
        .tested_with(&[USERS, CATALOG, ORDERS, PAYMENTS]),
    Room::new("shop/load", LOAD, "the shop under load, and what must hold", &[]).tested_with(&[SDK]),
    Room::new(
        "shop/shop",
        "shop",
        "any subset of the shop in one process",
        &[SDK, USERS, CATALOG, ORDERS, PAYMENTS, STOREFRONT, LOAD],
    ),
    Room::new(
        "examples/polyglot/rust",
        "polyglot-rust",
        "a stop of the example in several languages, without the SDK",
        &[],
    ),
    Room::new("xtask", "xtask", "checks, benches and chores of the repository", &[MODEL]),
];

/// Every import that the table does not allow, each with the way out.
pub fn violations() -> Result<Vec<String>> {
    let json = command::output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Metadata = serde_json::from_str(&json).context("cargo metadata answered no JSON")?;
    Ok(check(ROOMS, &metadata.packages))
}

/// The table, as `docs/ARCHITECTURE.md` shows it.
pub fn table() -> String {
    let mut table = String::from("| room | package | purpose | may import |\n|---|---|---|---|\n");
    for Room { folder, package, purpose, may, .. } in ROOMS {
        let may = if may.is_empty() { "—".to_owned() } else { format!("`{}`", may.join("`, `")) };
        table += &format!("| `{folder}` | `{package}` | {purpose} | {may} |\n");
    }
    table
}

fn check(rooms: &[Room], packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        match rooms.iter().find(|room| room.package == package.name) {
            Some(room) => violations.extend(package.dependencies.iter().filter_map(|import| forbid(room, import))),
            None => violations.push(format!(
                "{} is in no row of the table: add one to xtask/src/check/imports.rs that says what it is for and \
                 what it may import",
                package.name
            )),
        }
    }
    for room in rooms.iter().filter(|room| packages.iter().all(|package| package.name != room.package)) {
        violations.push(format!("{} is in the table and not in the workspace: remove its row", room.package));
    }
    violations
}

/// Why a room may not have this import, if so.
fn forbid(room: &Room, import: &Dependency) -> Option<String> {
    let Room { package, may, tests, .. } = room;
    let name = import.name.as_str();
    if import.path.is_none() {
        let why =
            "it promises no network, no async and no processes: move what needs it to the room that owns it";
        let forbidden = import.kind.is_none() && room.never.contains(&name);
        return forbidden.then(|| format!("{package} imports {name}, but {why}"));
    }
    let only_tests = import.kind.as_deref() == Some("dev");
    let in_tests = || name == TESTKIT || name == *package || tests.contains(&name);
    if may.contains(&name) || only_tests && in_tests() {
        return None;
    }
    let may = if may.is_empty() { "no other room".to_owned() } else { may.join(", ") };
    Some(format!(
        "{package} imports {name}, but may import only: {may}\n  Way out: declare a small trait or a function in \
         {package} for what it needs and fill it in where both are known ({NODE} for engines), or move the shared \
         type to {WIRE}."
    ))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`; absent for a normal one.
    kind: Option<String>,
    /// Present for a crate of this workspace.
    path: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, imports: &[(&str, Option<&str>, bool)]) -> Package {
        let dependency = |&(name, kind, ours): &(&str, Option<&str>, bool)| Dependency {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            path: ours.then(PathBuf::new),
        };
        Package { name: name.to_owned(), dependencies: imports.iter().map(dependency).collect() }
    }

    /// The violations of a workspace of just these rooms.
    fn check_only(packages: &[Package]) -> Vec<String> {
        let known: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        let rooms: Vec<_> = ROOMS.iter().filter(|room| known.contains(&room.package)).copied().collect();
        check(&rooms, packages)
    }

    #[test]
    fn this_workspace_keeps_the_table() {
        assert_eq!(violations().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_engine_that_imports_an_engine_is_refused() {
        let found = check_only(&[package(GATEWAY, &[(DISCOVERY, None, true), (CALLS, None, true)])]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("madang-gateway imports madang-discovery"), "{found:?}");
        assert!(found[0].contains("Way out"), "{found:?}");
    }

    #[test]
    fn no_test_may_join_what_the_table_keeps_apart() {
        assert!(check_only(&[package(SDK, &[(TESTKIT, Some("dev"), true)])]).is_empty());
        assert_eq!(check_only(&[package(SDK, &[(NODE, Some("dev"), true)])]).len(), 1);
        assert_eq!(check_only(&[package(SDK, &[(TESTKIT, None, true)])]).len(), 1);
    }

    #[test]
    fn an_inert_room_that_learns_of_the_network_is_refused() {
        assert_eq!(check_only(&[package(MODEL, &[("tokio", None, false)])]).len(), 1);
        assert!(
            check_only(&[package(MODEL, &[("tokio", Some("dev"), false), ("serde", None, false)])])
                .is_empty()
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_refused() {
        let found = check(&[Room::new("crates/gone", "gone", "", &[])], &[package("new", &[])]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_architecture_shows_this_table() {
        let table = table();
        let page = std::fs::read_to_string(command::root().join("docs/ARCHITECTURE.md")).unwrap();
        assert!(page.contains(&table), "docs/ARCHITECTURE.md does not show this table:\n{table}");
    }
}
