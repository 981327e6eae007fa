//! Whether the node before this one came to its end, and up to when its telemetry is whole if it did not.
//!
//! Telemetry is written a little after it comes. A node that is killed, or whose machine goes, loses what was yet to be
//! written: at most a second of it, as each moment is noted up to which everything has been.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use madang_store::{Error, rusqlite::OptionalExtension};

use crate::archive::Archive;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE lifetimes (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        whole INTEGER NOT NULL,
        ended INTEGER NOT NULL
    ) STRICT;
"];

/// The life of this node, in the archive. Clones share it.
#[derive(Clone)]
pub struct Lifetime(Archive);

/// What is missing because a node was cut off: killed, or its machine was. Both in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Up to when its telemetry is whole.
    pub whole_until: u64,
    /// When the next node began.
    pub until: u64,
}

// === impl Lifetime ===

impl Lifetime {
    /// One that has not begun: that it has is noted with the first moment that is whole, so that a node that cannot start
    /// changes nothing. Says what is missing if the one before was cut off; now is in milliseconds since 1970.
    ///
    /// # Errors
    /// If the archive cannot be read.
    pub async fn open(archive: &Archive, now: u64) -> Result<(Self, Option<Cut>), Error> {
        archive.migrate("lifetimes", MIGRATIONS).await?;
        let whole: Option<i64> = archive
            .read(|conn| {
                conn.query_row("SELECT whole FROM lifetimes WHERE ended = 0", [], |row| row.get(0)).optional()
            })
            .await?;
        let cut = whole.map(|whole| Cut { whole_until: whole.unsigned_abs(), until: now });
        Ok((Self(archive.clone()), cut))
    }

    /// All that came up to this moment, in milliseconds since 1970, is written.
    ///
    /// # Errors
    /// If it cannot be noted.
    pub async fn whole(&self, until: u64) -> Result<(), Error> {
        self.0.write(move |tx| put(tx, until, false)).await
    }

    /// It ends as it should, with all that came written.
    ///
    /// # Errors
    /// If it cannot be noted: the next one takes it for cut off.
    pub async fn end(&self, now: u64) -> Result<(), Error> {
        self.0.write(move |tx| put(tx, now, true)).await
    }
}

// === impl Cut ===

/// A sentence.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole_until, until } = *self;
        let at = i64::try_from(whole_until).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        let away = SignedDuration::from_secs(until.saturating_sub(whole_until).div_ceil(1000).cast_signed());
        write!(f, "telemetry is whole up to {:.3}; of the ", at.unwrap_or_default())?;
        write!(
            f,
            "{away:#} from then to this start only what services wrote to their output is sure to be there"
        )
    }
}

fn put(
    tx: &madang_store::rusqlite::Connection,
    whole: u64,
    ended: bool,
) -> madang_store::rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO lifetimes (one, whole, ended) VALUES (1, ?1, ?2)
         ON CONFLICT (one) DO UPDATE SET whole = excluded.whole, ended = excluded.ended",
    )?
    .execute((i64::try_from(whole).unwrap_or(i64::MAX), ended))
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArchiveConfig;

    #[tokio::test]
    async fn one_that_was_cut_off_is_told_with_the_last_moment_that_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let open = async |now| {
            let file = folder.path().join("telemetry.db");
            let archive = Archive::open(&file, ArchiveConfig::default()).await.unwrap();
            Lifetime::open(&archive, now).await.unwrap()
        };
        let (first, cut) = open(1_000).await;
        assert_eq!(cut, None, "there was none before");
        first.whole(2_000).await.unwrap();
        first.whole(3_000).await.unwrap();
        drop(first);
        for until in [9_000, 10_000] {
            let (_, cut) = open(until).await;
            assert_eq!(cut, Some(Cut { whole_until: 3_000, until }), "also after one that did not start");
        }
        let (second, _) = open(11_000).await;
        second.whole(12_000).await.unwrap();
        second.end(13_000).await.unwrap();
        assert_eq!(open(14_000).await.1, None);
    }

    #[test]
    fn a_cut_is_told_with_its_beginning_and_its_length() {
        let cut = Cut { whole_until: 1_800_000_000_250, until: 1_800_000_064_000 };
        let said = "telemetry is whole up to 2027-01-15T08:00:00.250Z; of the 1m 4s from then to this start only what \
            services wrote to their output is sure to be there";
        assert_eq!(cut.to_string(), said);
    }
}
