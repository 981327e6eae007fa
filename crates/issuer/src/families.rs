//! Refresh tokens, each of which is good once and gives the next. All that follow from one log-in are a *family*: one that
//! comes a second time was copied, and ends all of them (RFC 9700, section 4.14.2).

use std::collections::BTreeSet;

use madang_store::{Store, rusqlite};
use madang_wire::login::Person;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{Error, random};

/// How many families there may be; the one that would end first makes room.
const MOST: i64 = 10_000;

/// How long a family lasts, in seconds.
const LASTS: u64 = 30 * 86_400;

/// The families in the node's state.
pub(crate) struct Families {
    state: Store,
}

/// To whom something was granted, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Granted {
    pub(crate) client: String,
    pub(crate) person: Person,
    pub(crate) scope: BTreeSet<String>,
    /// When they logged in, in seconds since 1970.
    pub(crate) at: u64,
}

/// What came of a refresh token.
#[derive(Debug, PartialEq)]
pub(crate) enum Used {
    /// It was good, and this one is from now on.
    Next(Granted, String),
    /// It was good before: the family has ended.
    Again,
    Unknown,
}

// === impl Families ===

impl Families {
    pub(crate) fn new(state: &Store) -> Self {
        Self { state: state.clone() }
    }

    /// Begins one of this name, which nobody can guess, and gives its first token. It is kept when this returns.
    pub(crate) async fn begin(&self, id: &str, granted: &Granted, now: u64) -> Result<String, Error> {
        let secret = random::text()?;
        let row = (id.to_owned(), random::hash(&secret), serde_json::to_string(granted).unwrap_or_default());
        let (now, ends) = (now.cast_signed(), (now + LASTS).cast_signed());
        let write = move |tx: &rusqlite::Transaction<'_>| {
            tx.execute("DELETE FROM issuer_families WHERE ends <= ?1", [now])?;
            let sql = "INSERT INTO issuer_families VALUES (?1, ?2, ?3, ?4)";
            tx.execute(sql, (row.0, row.1.as_slice(), row.2, ends))?;
            let sql = "DELETE FROM issuer_families WHERE id IN
                (SELECT id FROM issuer_families ORDER BY ends DESC LIMIT -1 OFFSET ?1)";
            tx.execute(sql, [MOST])
        };
        let ended = self.state.write(write).await?;
        if ended > 0 {
            warn!(ended, "as many people are logged in as may be: those who came first have to log in again");
        }
        Ok(format!("{id}.{secret}"))
    }

    /// Uses a token of this client. What it gives is kept when this returns.
    pub(crate) async fn follow(&self, token: &str, client: &str, now: u64) -> Result<Used, Error> {
        let Some((id, secret)) = token.split_once('.') else { return Ok(Used::Unknown) };
        let next = random::text()?;
        let (id, given, new) = (id.to_owned(), random::hash(secret), random::hash(&next));
        let (client, now) = (client.to_owned(), now.cast_signed());
        let following = format!("{id}.{next}");
        let write = move |tx: &rusqlite::Transaction<'_>| {
            let Some((granted, kept)) = found(tx, &id, now)? else { return Ok(Used::Unknown) };
            if granted.client != client {
                return Ok(Used::Unknown);
            }
            if !random::same(&kept, &given) {
                tx.execute("DELETE FROM issuer_families WHERE id = ?1", [&id])?;
                return Ok(Used::Again);
            }
            tx.execute("UPDATE issuer_families SET token = ?2 WHERE id = ?1", (&id, new.as_slice()))?;
            Ok(Used::Next(granted, following))
        };
        Ok(self.state.write(write).await?)
    }

    /// Whether a family goes on; with a token, whether that one is its newest. Gives to whom it belongs.
    pub(crate) async fn known(
        &self,
        id: &str,
        secret: Option<&str>,
        now: u64,
    ) -> Result<Option<Granted>, Error> {
        let (id, given) = (id.to_owned(), secret.map(random::hash));
        let read = move |conn: &rusqlite::Connection| found(conn, &id, now.cast_signed());
        let known = self.state.read(read).await?;
        let fits = |kept: &[u8; 32]| given.is_none_or(|given| random::same(kept, &given));
        Ok(known.filter(|(_, kept)| fits(kept)).map(|(granted, _)| granted))
    }

    /// Ends one, if it is this client's.
    pub(crate) async fn end(&self, id: &str, client: &str) -> Result<(), Error> {
        let (id, client) = (id.to_owned(), client.to_owned());
        let write = move |tx: &rusqlite::Transaction<'_>| {
            if found(tx, &id, 0)?.is_some_and(|(granted, _)| granted.client == client) {
                tx.execute("DELETE FROM issuer_families WHERE id = ?1", [&id])?;
            }
            Ok(())
        };
        Ok(self.state.write(write).await?)
    }
}

fn found(conn: &rusqlite::Connection, id: &str, now: i64) -> rusqlite::Result<Option<(Granted, [u8; 32])>> {
    let sql = "SELECT granted, token FROM issuer_families WHERE id = ?1 AND ends > ?2";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query((id, now))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let granted = serde_json::from_str(&row.get::<_, String>(0)?).ok();
    let token = row.get::<_, Vec<u8>>(1)?.try_into().ok();
    Ok(granted.zip(token))
}
