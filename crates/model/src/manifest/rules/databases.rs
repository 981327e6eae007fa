//! Each service has a database of its own.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use crate::{
    Database,
    manifest::{
        error::{Code, Found, ManifestError},
        format::{postgres_rest, sqlite_path},
        plan,
        raw::{RawService, RawSystem},
        source::Spot,
    },
};

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST: usize = 63;

/// The database of a service, if it declares one that can be had.
pub(in crate::manifest) fn database(
    service: &RawService,
    raw: &RawSystem,
    system: &str,
    root: &Path,
) -> Option<Database> {
    let name = &service.name.value;
    Some(match service.database.as_ref()?.value.as_str() {
        "sqlite" => Database::Sqlite(root.join(".madang/data").join(format!("{name}.db"))),
        "postgres" => {
            let server = raw.postgres.as_ref()?.value.trim_end_matches('/');
            Database::Postgres(format!("{server}/{}", database_name(system, name.as_str())))
        }
        text => match sqlite_path(text) {
            Some(path) => Database::Sqlite(without_dots(&service.folder.join(path))),
            None => Database::Postgres(text.to_owned()),
        },
    })
}

fn database_name(system: &str, service: &str) -> String {
    format!("{system}_{service}").replace('-', "_")
}

/// A URL that can be shown: without its password, and without its options, which can hold one.
pub(in crate::manifest) fn masked(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (user, server) = rest.rsplit_once('@')?;
        Some((scheme, user.split_once(':')?.0, server))
    });
    match parts {
        Some((scheme, user, server)) => format!("{scheme}://{user}:***@{server}"),
        None => url.to_owned(),
    }
}

pub(super) fn check(raw: &RawSystem, system: &str, root: &Path, found: &mut Found) {
    let mut owners: HashMap<String, (&RawService, &Spot)> = HashMap::new();
    for service in plan::services(raw).into_values() {
        let Some(declared) = &service.database else { continue };
        if declared.value == "postgres" {
            server(raw, service, system, &declared.spot, found);
        }
        let Some(database) = database(service, raw, system, root) else { continue };
        match owners.get(&identity(&database)) {
            None => _ = owners.insert(identity(&database), (service, &declared.spot)),
            Some((owner, spot)) => found.push(
                ManifestError::new(
                    Code::SHARED_DATABASE,
                    format!("{} and {} use the same database", owner.name.value, service.name.value),
                )
                .at(&declared.spot, format!("{}'s", service.name.value))
                .also(spot, format!("{}'s", owner.name.value))
                .hint("give each service its own and let one ask the other over its API: write \"sqlite\" or \"postgres\" and Madang names it after the service"),
            ),
        }
    }
}

/// `database = "postgres"` needs a server and a name that it keeps whole.
fn server(raw: &RawSystem, service: &RawService, system: &str, spot: &Spot, found: &mut Found) {
    if !raw.has_postgres {
        found.push(
            ManifestError::new(
                Code::NO_POSTGRES,
                format!("the database of \"{}\" is on a server that nothing names", service.name.value),
            )
            .at(spot, "on which server?")
            .hint("add the server's URL to [system] of madang.toml: postgres = \"postgres://user@127.0.0.1:5432\""),
        );
    }
    let name = database_name(system, service.name.value.as_str());
    if name.len() > LONGEST {
        found.push(
            ManifestError::new(
                Code::BAD_VALUE,
                format!("the database's name would have {} characters", name.len()),
            )
            .at(spot, "its name is made of the system's and the service's")
            .hint(format!(
                "PostgreSQL keeps {LONGEST}: shorten one of the names, or write the database's URL"
            )),
        );
    }
}

/// Two databases with one identity are the same, whoever asks: users, passwords and options do not count.
fn identity(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("sqlite:{}", path.display()),
        Database::Postgres(url) => {
            let rest = postgres_rest(url).unwrap_or(url);
            let rest = rest.split(['?', '#']).next().unwrap_or(rest);
            let (server, name) = rest.split_once('/').unwrap_or((rest, ""));
            let server = server.rsplit_once('@').map_or(server, |(_, server)| server).to_ascii_lowercase();
            format!("postgres:{}/{name}", server.strip_suffix(":5432").unwrap_or(&server))
        }
    }
}

/// The path without `.` and `..`, as text alone says it.
pub(in crate::manifest) fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}
