//! The bounds of the file, over several parts.

use std::{path::Path, time::Duration};

use madang_store::rusqlite::{Connection, Result};

use super::{Archive, ArchiveConfig, Part};

const MUCH: Part = Part {
    name: "much",
    migrations: &["CREATE TABLE much (at INTEGER, text TEXT); CREATE INDEX much_by_at ON much (at)"],
    table: "much",
    time: "at",
    delete: |tx, before, most| delete(tx, "much", before, most),
};

const LITTLE: Part = Part {
    name: "little",
    migrations: &["CREATE TABLE little (at INTEGER); CREATE INDEX little_by_at ON little (at)"],
    table: "little",
    time: "at",
    delete: |tx, before, most| delete(tx, "little", before, most),
};

static BOTH: &[Part] = &[LITTLE, MUCH];

fn delete(tx: &Connection, table: &str, before: i64, most: u32) -> Result<usize> {
    let chosen = format!("SELECT rowid FROM {table} WHERE at < ?1 ORDER BY at LIMIT ?2");
    tx.prepare_cached(&format!("DELETE FROM {table} WHERE rowid IN ({chosen})"))?.execute((before, most))
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_micros() as i64
}

/// On the disk, without the index of the write-ahead log, which has no content of its own.
fn size(folder: &Path) -> u64 {
    ["telemetry.db", "telemetry.db-wal"].iter().map(|name| folder.join(name).metadata().unwrap().len()).sum()
}

async fn kept(archive: &Archive, table: &'static str) -> Vec<i64> {
    let sql = format!("SELECT at FROM {table} ORDER BY at");
    let query = move |conn: &Connection| conn.prepare(&sql)?.query_map([], |row| row.get(0))?.collect();
    archive.read(query).await.unwrap()
}

async fn open(folder: &Path, config: ArchiveConfig) -> Archive {
    Archive::open_parts(&folder.join("telemetry.db"), config, BOTH).await.unwrap()
}

#[tokio::test]
async fn what_is_left_of_all_parts_begins_at_the_same_moment_and_fits() {
    let folder = tempfile::tempdir().unwrap();
    let bound = ArchiveConfig { largest: 16 << 20, ..Default::default() };
    let archive = open(folder.path(), bound).await;
    let start = now() - 1_000_000;
    for round in 0..60 {
        let write = move |tx: &madang_store::rusqlite::Transaction<'_>| {
            for n in 0..500 {
                let at = start + round * 500 + n;
                tx.execute("INSERT INTO much VALUES (?1, ?2)", (at, "x".repeat(700)))?;
            }
            tx.execute("INSERT INTO little VALUES (?1)", [start + round * 500]).map(drop)
        };
        archive.write(write).await.unwrap();
        assert!(size(folder.path()) <= bound.largest, "{}", size(folder.path()));
    }
    let (much, little) = (kept(&archive, "much").await, kept(&archive, "little").await);
    assert!((5_000..20_000).contains(&much.len()), "{}", much.len());
    assert_eq!(*much.last().unwrap(), start + 29_999);
    assert!(*little.first().unwrap() >= much[0] - 250, "nothing of before");
    let newer = (0..60).filter(|round| start + round * 500 >= much[0]).count();
    assert_eq!(little.len(), newer, "all of after");
}

#[tokio::test]
async fn more_of_one_moment_than_is_deleted_at_once_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path(), ArchiveConfig { largest: 16 << 20, ..Default::default() }).await;
    let at = now();
    for _ in 0..40 {
        let write = move |tx: &madang_store::rusqlite::Transaction<'_>| {
            (0..500).try_for_each(|_| {
                tx.execute("INSERT INTO much VALUES (?1, ?2)", (at, "x".repeat(700))).map(drop)
            })
        };
        archive.write(write).await.unwrap();
    }
    assert!(size(folder.path()) <= 16 << 20);
    assert!((5_000..20_000).contains(&kept(&archive, "much").await.len()));
}

#[tokio::test]
async fn what_is_too_old_goes_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let hour = ArchiveConfig { oldest: Duration::from_secs(3600), ..Default::default() };
    let archive = open(folder.path(), hour).await;
    let (old, new) = (now() - 3_700_000_000, now() - 3_500_000_000);
    let write = move |tx: &madang_store::rusqlite::Transaction<'_>| {
        tx.execute("INSERT INTO much VALUES (?1, ''), (?2, '')", [old, new])?;
        tx.execute("INSERT INTO little VALUES (?1), (?2)", [old, new])
    };
    archive.write(write).await.unwrap();
    archive.trim().await.unwrap();
    assert_eq!(kept(&archive, "much").await, [new]);
    assert_eq!(kept(&archive, "little").await, [new]);
}
