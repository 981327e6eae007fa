//! What to say of a key that its table does not have: where it belongs, or which one was meant.

use super::{
    check::quoted,
    error::{Code, ManifestError},
    keys::{ADMIN, GATEWAY, MANIFEST, POLICY, ROUTE, SERVICE, SERVICE_FILE, SYSTEM, Table, UNIT},
    source::Spot,
    tree::{Entry, Node},
};
use crate::nearest;

/// The table in which a key stands.
pub(super) struct Enclosing {
    /// Its header, as written, and the line; none for the top of a file and for a table between braces.
    header: Option<(String, usize)>,
    /// Whether it is the top of its file.
    top: bool,
    /// Whether the file is one service's.
    service_file: bool,
    /// The line of the file's first header.
    first_header: Option<usize>,
    /// The file, by its number.
    file: usize,
}

impl Enclosing {
    pub fn of(node: &Node, root: &Table, first_header: Option<&Spot>) -> Self {
        let header = node.has_header().then(|| (node.spot.written().trim().to_owned(), node.spot.line()));
        Self {
            header,
            top: node.spot.range.is_empty(),
            service_file: std::ptr::eq(root, &SERVICE_FILE),
            first_header: first_header.map(Spot::line),
            file: node.spot.source.index,
        }
    }

    /// The problem of a key that `table` does not have.
    pub fn unknown_key(&self, entry: &Entry, table: &'static Table) -> ManifestError {
        let (key, spot) = (entry.key.as_str(), &entry.key_spot);
        if spot.source.index != self.file {
            // It was laid over this table: where the table stands says nothing of where the key does.
            let there =
                Self { header: None, top: false, first_header: None, file: spot.source.index, ..*self };
            return there.unknown_key(entry, table);
        }
        let homes = self.homes(entry, table);
        let shown = if key.len() > 60 { quoted(key) } else { format!("`{key}`") };
        if !homes.is_empty() {
            let homes = homes.join(" or ");
            let message = format!("{shown} is not a key of {}: it belongs to {homes}", table.noun);
            return ManifestError::new(Code::MISPLACED_KEY, message)
                .at(spot, format!("belongs to {homes}"))
                .hint(self.move_it(&homes));
        }
        let keys: Vec<&str> = table.keys().map(|key| key.name).collect();
        let all = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let help = match nearest(key, keys) {
            _ if key == "per_caller" && is_of_calls(table) => {
                "write `concurrency`: given for a route or a call, it is that one's own".to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`? The keys of {} are {all}", table.noun),
            None => format!("the keys of {} are {all}", table.noun),
        };
        ManifestError::new(Code::UNKNOWN_KEY, format!("{shown} is not a key of {}", table.noun))
            .at(spot, "unknown key")
            .hint(help)
    }

    fn move_it(&self, homes: &str) -> String {
        match &self.header {
            Some((header, line)) => format!(
                "in TOML a key belongs to the last table header above it, here {header} in line {line}: move it to {homes}"
            ),
            None if self.top => format!(
                "the keys above the first table header belong to the file as a whole: move it to {homes}"
            ),
            None => format!("move it to {homes}"),
        }
    }

    /// The tables that have the key and take such a value, as places to move it to.
    fn homes(&self, entry: &Entry, table: &'static Table) -> Vec<String> {
        let key = entry.key.as_str();
        let top = match self.first_header {
            Some(line) => format!("the top of this file, above line {line}"),
            None => "the top of this file".to_owned(),
        };
        let at = |place: &str| {
            if self.service_file { format!("{place} of madang.toml") } else { place.to_owned() }
        };
        let places: [(&'static Table, String); 7] = match self.service_file {
            true => [
                (&SERVICE_FILE, top),
                (&ROUTE, "[[routes]]".into()),
                (&SYSTEM, at("[system]")),
                (&GATEWAY, at("[gateway]")),
                (&ADMIN, at("[admin]")),
                (&UNIT, at("[units.NAME]")),
                (&MANIFEST, "madang.toml".into()),
            ],
            false => [
                (&MANIFEST, top),
                (&SYSTEM, "[system]".into()),
                (&GATEWAY, "[gateway]".into()),
                (&ADMIN, "[admin]".into()),
                (&SERVICE, "[services.NAME]".into()),
                (&UNIT, "[units.NAME]".into()),
                (&ROUTE, "[[routes]]".into()),
            ],
        };
        let fits = |home: &Table| home.key(key).is_some_and(|key| key.shape.takes(&entry.node.value));
        let homes = places.into_iter().filter(|(home, _)| !std::ptr::eq(*home, table) && fits(home));
        let homes: Vec<String> = homes.map(|(_, place)| place).collect();
        // What is said of calls stands in no table itself, but in its policy.
        if homes.is_empty() && !is_of_calls(table) && fits(&POLICY) {
            return match table.key("policy") {
                Some(_) => vec![format!("the `policy` of {}", table.noun)],
                None => vec!["[policy]".into(), "the `policy` of a service or a route".into()],
            };
        }
        // In a service's own file, the file itself is the answer wherever else the key is known.
        if self.service_file && SERVICE_FILE.key(key).is_some() {
            homes.into_iter().take(1).collect()
        } else {
            homes
        }
    }
}

/// Whether a table is itself about calls.
fn is_of_calls(table: &Table) -> bool {
    table.key("attempt_timeout").is_some()
}
