//! Who did what: every request that changes something, whichever way it came, with what became of it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{ConnectInfo, Query, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;
use madang_store::{Store, rusqlite};
use madang_wire::{Problem, audit::AuditEntry};
use serde::Deserialize;
use tracing::{info, warn};

use super::{Answer, Shared, unread};
use crate::{node::now, peer::Peer};

const SCHEMA: &[&str] =
    &["CREATE TABLE audit_entries (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
    by TEXT NOT NULL, what TEXT NOT NULL, request TEXT NOT NULL, status INTEGER NOT NULL) STRICT"];

/// How many are kept; the oldest go first.
const KEPT: u32 = 10_000;

/// How many are listed if nobody says.
const USUAL: u32 = 100;

/// How long a path is kept at most, in characters: whoever asks makes it.
const LONGEST: usize = 300;

/// What was done, in the node's state.
#[derive(Clone)]
pub(crate) struct Audit(Store);

// === impl Audit ===

impl Audit {
    pub(crate) async fn open(state: &Store) -> Result<Self, madang_store::Error> {
        state.migrate("audit", SCHEMA).await?;
        Ok(Self(state.clone()))
    }

    /// Keeps an entry. One that cannot be kept is in the log of the node.
    async fn record(&self, entry: AuditEntry) {
        let AuditEntry { at, by, what, request, status } = entry;
        info!(by, what, request, status, "asked to change something");
        let write = move |tx: &rusqlite::Transaction<'_>| {
            let insert =
                "INSERT INTO audit_entries (at, by, what, request, status) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.execute(insert, (at.cast_signed(), by, what, request, status))?;
            tx.execute("DELETE FROM audit_entries WHERE id <= ?1", [tx.last_insert_rowid() - i64::from(KEPT)])
        };
        if let Err(error) = self.0.write(write).await {
            warn!(%error, "failed to keep an entry of the audit");
        }
    }

    /// The latest, newest first.
    async fn latest(&self, count: u32) -> Result<Vec<AuditEntry>, madang_store::Error> {
        let read = move |conn: &rusqlite::Connection| {
            let select = "SELECT at, by, what, request, status FROM audit_entries ORDER BY id DESC LIMIT ?1";
            let mut rows = conn.prepare_cached(select)?;
            let entry = |row: &rusqlite::Row<'_>| {
                Ok(AuditEntry {
                    at: row.get::<_, i64>(0)?.cast_unsigned(),
                    by: row.get(1)?,
                    what: row.get(2)?,
                    request: row.get(3)?,
                    status: row.get(4)?,
                })
            };
            rows.query_map([count], entry)?.collect()
        };
        self.0.read(read).await
    }
}

/// Has what changes something recorded once it is answered. What only asks is not.
pub(super) async fn audited(State(node): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let by = request.extensions().get::<ConnectInfo<Peer>>().map_or("somebody", |ConnectInfo(Peer(by))| by);
    let by = by.to_owned();
    let asked = request.uri().path_and_query().map_or("", |asked| asked.as_str());
    let (method, asked) = (request.method().clone(), asked.chars().take(LONGEST).collect::<String>());
    let what = in_words(&method, asked.split('?').next().unwrap_or_default());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    node.audit.record(AuditEntry { at: now(), by, what, request: format!("{method} {asked}"), status }).await;
    response
}

/// What a request asks for, in the words of the command line.
fn in_words(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["restart", name]) => format!("restart {name}"),
        ("POST", ["units", name, verb]) => format!("{verb} {name}"),
        ("POST", ["down"]) => "stop the system".to_owned(),
        ("POST", ["tokens"]) => "make a token".to_owned(),
        ("POST", ["requests"]) => "send a request through the gateway".to_owned(),
        ("POST", ["keys"]) => "make an API key".to_owned(),
        ("POST", ["issuer", "keys"]) => "sign tokens with a new key".to_owned(),
        ("DELETE", ["keys", name]) => format!("revoke the API key {name}"),
        ("POST", ["cache", "purge"]) => "forget answers that are kept".to_owned(),
        ("POST", ["faults"]) => "add a fault".to_owned(),
        ("DELETE", ["faults"]) => "remove every fault".to_owned(),
        ("DELETE", ["faults", id]) => format!("remove the fault {id}"),
        (method, parts) => format!("{} {}", method.to_lowercase(), parts.join(" ")),
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    n: Option<u32>,
}

/// What was asked of the node that changes something, newest first: who, what and when.
#[utoipa::path(get, path = "/v1/audit",
    params(("n" = Option<u32>, Query, description = "How many, up to 10000; 100 if absent.")),
    responses((status = 200, body = Vec<AuditEntry>), (status = 400, body = Problem)))]
pub(super) async fn audit(
    State(node): State<Arc<Shared>>,
    Query(Params { n }): Query<Params>,
) -> Answer<Json<Vec<AuditEntry>>> {
    let latest = node.audit.latest(n.unwrap_or(USUAL).min(KEPT)).await;
    latest.map(Json).map_err(|error| unread(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_latest_are_kept_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let audit = Audit::open(&state).await.unwrap();
        let entry = |at: u64| AuditEntry {
            at,
            by: "user 0".to_owned(),
            what: "restart users".to_owned(),
            request: "POST /v1/restart/users".to_owned(),
            status: 202,
        };
        for at in 1..=3 {
            audit.record(entry(at)).await;
        }
        assert_eq!(audit.latest(2).await.unwrap(), [entry(3), entry(2)]);
        let later = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'audit_entries'";
        state.write(move |tx| tx.execute(later, [KEPT + 1])).await.unwrap();
        audit.record(entry(4)).await;
        let left: Vec<u64> = audit.latest(KEPT).await.unwrap().iter().map(|entry| entry.at).collect();
        assert_eq!(left, [4, 3], "as many ids back as are kept");
    }

    #[test]
    fn what_was_asked_is_said_as_the_command_line_says_it() {
        let said = |method: Method, path: &str| in_words(&method, path);
        assert_eq!(said(Method::POST, "/v1/restart/users"), "restart users");
        assert_eq!(said(Method::POST, "/v1/units/users/stop"), "stop users");
        assert_eq!(said(Method::POST, "/v1/down"), "stop the system");
        assert_eq!(said(Method::DELETE, "/v1/keys/ci"), "revoke the API key ci");
        assert_eq!(said(Method::POST, "/v1/issuer/keys"), "sign tokens with a new key");
        assert_eq!(said(Method::DELETE, "/v1/faults/f3"), "remove the fault f3");
        assert_eq!(said(Method::POST, "/v1/cache/purge"), "forget answers that are kept");
        assert_eq!(said(Method::PUT, "/v1/anything/new"), "put anything new");
    }
}
