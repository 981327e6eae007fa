//! The promise: success means on the disk, one failure is nobody else's, and many share one commit.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::mpsc,
};

use futures_util::future::{join_all, poll_immediate};
use rusqlite::{Connection, ErrorCode};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{Error, Settings, Store};

const SCHEMA: &[&str] = &["CREATE TABLE notes (text TEXT PRIMARY KEY) STRICT"];

async fn open() -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&url(&file(&folder))).unwrap();
    store.migrate("notes", SCHEMA).await.unwrap();
    (store, folder)
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("data/state.db")
}

fn url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

fn insert(conn: &Connection, text: &str) -> rusqlite::Result<()> {
    conn.execute("INSERT INTO notes VALUES (?1)", [text]).map(drop)
}

async fn note(store: &Store, text: &'static str) -> Result<(), Error> {
    store.write(move |tx| insert(tx, text)).await
}

async fn notes(store: &Store) -> Vec<String> {
    let all = store.read(|conn| {
        let mut all = conn.prepare("SELECT text FROM notes ORDER BY text")?;
        all.query_map([], |row| row.get(0))?.collect()
    });
    all.await.unwrap()
}

/// Holds the writer inside a write until the sender is used, so that what is queued meanwhile is one group.
async fn held(store: &Store) -> (mpsc::Sender<()>, JoinHandle<Result<(), Error>>) {
    let (release, released) = mpsc::channel();
    let (holds, held) = tokio::sync::oneshot::channel();
    let store = store.clone();
    let holder = tokio::spawn(async move {
        let hold = move |_: &rusqlite::Transaction<'_>| {
            let _ = holds.send(());
            let _ = released.recv();
            Ok(())
        };
        store.write(hold).await
    });
    held.await.unwrap();
    (release, holder)
}

/// Queues writes that will share one commit, and gives the outcome of each.
async fn as_one_group<F>(store: &Store, writes: Vec<F>) -> Vec<Result<(), Error>>
where
    F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
{
    let (release, _holder) = held(store).await;
    let mut all = join_all(writes.into_iter().map(|write| store.write(move |tx| write(tx))));
    // Polled once, each of them gets as far as the queue.
    assert!(poll_immediate(&mut all).await.is_none());
    release.send(()).unwrap();
    all.await
}

#[test]
fn sqlite_is_a_version_without_the_wal_reset_race() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[tokio::test]
async fn a_write_that_returned_is_read() {
    let (store, _folder) = open().await;
    note(&store, "first").await.unwrap();
    assert_eq!(notes(&store).await, ["first"]);
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let (store, folder) = open().await;
    note(&store, "secret").await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        assert_eq!(mode(&folder.path().join("data").join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_a_commit_covered_survives_a_kill() {
    let (store, folder) = open().await;
    note(&store, "kept").await.unwrap();
    // The files as they are on the disk at this moment are what a killed node leaves.
    let left = folder.path().join("left");
    std::fs::create_dir(&left).unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(folder.path().join("data").join(name), left.join(name)).unwrap();
    }
    let reopened = Store::open(&url(&left.join("state.db"))).unwrap();
    assert_eq!(notes(&reopened).await, ["kept"]);
}

#[tokio::test]
async fn dropping_the_last_handle_writes_what_is_queued() {
    let (store, folder) = open().await;
    let (release, holder) = held(&store).await;
    assert!(poll_immediate(Box::pin(note(&store, "queued"))).await.is_none());
    drop(store);
    release.send(()).unwrap();
    holder.await.unwrap().unwrap();
    let reopened = Store::open(&url(&file(&folder))).unwrap();
    assert_eq!(notes(&reopened).await, ["queued"]);
}

#[tokio::test]
async fn writes_that_wait_together_share_one_commit() {
    let (store, _folder) = open().await;
    let before = store.commits();
    let writes = (0..100).map(|n| move |conn: &Connection| insert(conn, &format!("{n:03}"))).collect();
    let outcomes = as_one_group(&store, writes).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(store.commits() - before, 2, "one of the write that held the writer, one of the hundred");
    assert_eq!(notes(&store).await.len(), 100);
}

#[tokio::test]
async fn a_failing_or_panicking_write_leaves_the_others_alone() {
    let (store, _folder) = open().await;
    note(&store, "taken").await.unwrap();
    let writes: Vec<fn(&Connection) -> rusqlite::Result<()>> = vec![
        |conn| insert(conn, "before"),
        |conn| insert(conn, "half").and_then(|()| insert(conn, "taken")),
        |conn| insert(conn, "gone").map(|()| panic!("a write that panics")),
        |conn| insert(conn, "after"),
    ];
    let outcomes = as_one_group(&store, writes).await;
    assert!(matches!(&outcomes[..], [Ok(()), Err(Error::Statement { .. }), Err(Error::Panicked), Ok(())]));
    assert_eq!(notes(&store).await, ["after", "before", "taken"]);
}

#[tokio::test]
async fn a_full_disk_fails_loudly_and_is_got_over() {
    let (store, _folder) = open().await;
    fn full(conn: &Connection) -> rusqlite::Result<()> {
        let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        conn.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
        conn.execute("INSERT INTO notes VALUES (hex(zeroblob(1000000)))", []).map(drop)
    }
    let writes: Vec<fn(&Connection) -> rusqlite::Result<()>> = vec![|conn| insert(conn, "innocent"), full];
    for outcome in as_one_group(&store, writes).await {
        let Err(Error::Commit { source }) = outcome else { panic!("there was room") };
        assert_eq!(source.sqlite_error_code(), Some(ErrorCode::DiskFull));
    }
    assert!(matches!(store.failing(), Some(Error::Commit { .. })));
    store.check().await.unwrap();
    assert!(store.failing().is_none());
    note(&store, "room again").await.unwrap();
    assert_eq!(notes(&store).await, ["room again"]);
}

#[tokio::test]
async fn a_failed_commit_fails_everybody_who_shared_it_and_nobody_after() {
    let (store, _folder) = open().await;
    let children = "CREATE TABLE children (parent TEXT REFERENCES notes DEFERRABLE INITIALLY DEFERRED)";
    store.write(move |tx| tx.execute_batch(children)).await.unwrap();
    let writes: Vec<fn(&Connection) -> rusqlite::Result<()>> =
        vec![|conn| insert(conn, "innocent"), |conn| {
            conn.execute("INSERT INTO children VALUES ('nobody')", []).map(drop)
        }];
    let outcomes = as_one_group(&store, writes).await;
    assert!(matches!(&outcomes[..], [Err(Error::Commit { .. }), Err(Error::Commit { .. })]), "{outcomes:?}");
    note(&store, "next").await.unwrap();
    assert_eq!(notes(&store).await, ["next"]);
}

#[tokio::test]
async fn a_write_that_ends_the_transaction_is_caught() {
    let (store, _folder) = open().await;
    note(&store, "taken").await.unwrap();
    let writes: Vec<fn(&Connection) -> rusqlite::Result<()>> =
        vec![|conn| insert(conn, "innocent"), |conn| conn.execute_batch("ROLLBACK")];
    let outcomes = as_one_group(&store, writes).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::TransactionEnded))), "{outcomes:?}");
    note(&store, "next").await.unwrap();
    assert_eq!(notes(&store).await, ["next", "taken"]);
}

#[tokio::test]
async fn a_reader_cannot_write_and_its_panic_is_its_own() {
    let (store, _folder) = open().await;
    let refused = store.read(|conn| insert(conn, "sneaked")).await;
    assert!(matches!(refused, Err(Error::Statement { .. })), "{refused:?}");
    let panicked = store.read(|_| -> rusqlite::Result<()> { panic!("a read that panics") }).await;
    assert!(matches!(panicked, Err(Error::Panicked)));
    for _ in 0..20 {
        assert_eq!(notes(&store).await, [""; 0]);
    }
}

#[tokio::test]
async fn tables_go_forward_only() {
    let (store, folder) = open().await;
    let second = "ALTER TABLE notes ADD COLUMN author TEXT";
    store.migrate("notes", &[SCHEMA[0], second]).await.unwrap();
    store.migrate("notes", &[SCHEMA[0], second]).await.unwrap();
    drop(store);

    let older = Store::open(&url(&file(&folder))).unwrap();
    let error = older.migrate("notes", SCHEMA).await.unwrap_err();
    expect_test::expect!["the tables of notes are at version 2 and this program knows 1: run a newer one"]
        .assert_eq(&error.to_string());
}

#[tokio::test]
async fn a_failed_migration_changes_nothing() {
    let (store, _folder) = open().await;
    let broken = "CREATE TABLE extra (x); CREATE TABLE notes (text)";
    assert!(store.migrate("notes", &[SCHEMA[0], broken]).await.is_err());
    let repaired = "CREATE TABLE extra (x)";
    store.migrate("notes", &[SCHEMA[0], repaired]).await.unwrap();
}

#[tokio::test]
async fn a_file_with_a_largest_size_never_exceeds_it_and_gives_back_what_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { lossy: true, largest: Some(400 << 10) };
    let store = Store::open_with(&url(&file(&folder)), settings).unwrap();
    store.migrate("notes", SCHEMA).await.unwrap();
    let fill =
        |conn: &Connection| conn.execute("INSERT INTO notes VALUES (hex(randomblob(20000)))", []).map(drop);
    let mut written = 0;
    while store.write(move |tx| fill(tx)).await.is_ok() {
        written += 1;
    }
    assert!((3..6).contains(&written), "{written} of 40 KB in the table and as many in its index");
    let pages = |store: Store| async move {
        store.read(|conn| conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))).await.unwrap()
    };
    assert!(pages(store.clone()).await * 4096 <= 400 << 10);

    // The connection was opened anew after the failure, and has the same settings.
    let freed = store.write(|tx| {
        tx.execute("DELETE FROM notes", [])?;
        let mut vacuum = tx.prepare("PRAGMA incremental_vacuum")?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
    });
    freed.await.unwrap();
    assert!(pages(store.clone()).await < 10);
    let mut again = 0;
    while store.write(move |tx| fill(tx)).await.is_ok() {
        again += 1;
    }
    assert_eq!(again, written);
}
