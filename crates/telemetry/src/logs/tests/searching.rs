//! Which lines are found.

use super::*;
use crate::logs::kept::shelves::Shelf;

async fn some() -> Folder {
    let folder = Folder::with(LogConfig { largest: 1, lines_per_second: 1_000_000 }).await;
    // More than one shelf of the index.
    let noise: String = (0..5_000).map(|n| format!("INFO nothing new of user-{n}\n")).collect();
    folder.write("noise", "noise-1", &noise);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let lines = [
        r#"{"level":"info","message":"order placed","order":"A-7","user":"user-42"}"#.to_owned(),
        format!(r#"{{"level":"error","message":"ReadTimeoutException","trace_id":"{trace}"}}"#),
        "WARN 주문이 늦습니다 (100% \"quoted\")".to_owned(),
    ];
    folder.lines(last(1)).await;
    folder.write("orders", "orders-1", &(lines.join("\n") + "\n"));
    folder
}

async fn grep(folder: &Folder, text: &str) -> Vec<String> {
    let filter = LogFilter { grep: Some(text.into()), ..LogFilter::default() };
    let found = folder.found(LogQuery { last: 5, ..only(filter) }).await;
    found.into_iter().map(|line| line.text().to_owned()).collect()
}

#[tokio::test]
async fn any_part_of_what_a_line_says_finds_it() {
    let folder = some().await;
    for text in ["order placed", "ORDER PLA", "er pl", "order=A-7", "user=user-42", "A-7"] {
        assert_eq!(grep(&folder, text).await, ["order placed"], "{text}");
    }
    assert_eq!(grep(&folder, "Timeout").await, ["ReadTimeoutException"]);
    assert_eq!(
        grep(&folder, "주문").await,
        ["WARN 주문이 늦습니다 (100% \"quoted\")"],
        "shorter than the index knows"
    );
    assert_eq!(grep(&folder, "주문이 늦").await.len(), 1);
    assert_eq!(grep(&folder, "100% \"quo").await.len(), 1);
    // In the oldest shelf, and as a part of others.
    assert_eq!(grep(&folder, "user-7 ").await, [""; 0]);
    assert_eq!(grep(&folder, "of user-17").await.len(), 5);
    assert_eq!(grep(&folder, "of user-4999").await, ["INFO nothing new of user-4999"]);
    assert_eq!(grep(&folder, "of user-1").await.last().unwrap(), "INFO nothing new of user-1999");
    // Each of its pieces is somewhere, but not together.
    assert_eq!(grep(&folder, "placed ReadTimeout").await, [""; 0]);
    assert_eq!(grep(&folder, "0af7651916cd43dd8448eb211c80319c").await, ["ReadTimeoutException"]);
    assert_eq!(grep(&folder, "").await.len(), 5);
}

#[tokio::test]
async fn lines_are_chosen_by_unit_level_trace_and_time() {
    let folder = some().await;
    let found = async |filter: LogFilter| folder.found(only(filter)).await.len();
    let all = LogFilter::default;
    let orders = || vec!["orders".parse().unwrap()];
    assert_eq!(found(LogFilter { units: orders(), ..all() }).await, 3);
    let two = vec!["orders".parse().unwrap(), "noise".parse().unwrap()];
    assert_eq!(found(LogFilter { units: two.clone(), ..all() }).await, 100);
    let two = LogQuery { last: 4, ..only(LogFilter { units: two, ..all() }) };
    assert_eq!(folder.found(two).await.iter().filter(|line| line.unit == "orders").count(), 3);
    assert_eq!(found(LogFilter { units: vec!["users".parse().unwrap()], ..all() }).await, 0);
    assert_eq!(found(LogFilter { level: Some(LogLevel::Warn), ..all() }).await, 2);
    assert_eq!(found(LogFilter { level: Some(LogLevel::Error), units: orders(), ..all() }).await, 1);
    assert_eq!(found(LogFilter { level: Some(LogLevel::Info), units: orders(), ..all() }).await, 3);
    let trace = "0af7651916cd43dd8448eb211c80319c".parse().ok();
    assert_eq!(found(LogFilter { trace, ..all() }).await, 1);
    assert_eq!(found(LogFilter { trace, units: vec!["noise".parse().unwrap()], ..all() }).await, 0);
    let now = entry::now() / 1000;
    assert_eq!(found(LogFilter { since: Some(now + 1000), ..all() }).await, 0);
    assert_eq!(found(LogFilter { until: Some(now - 60_000), ..all() }).await, 0);
    let word = |units| LogFilter { units, grep: Some("of".into()), ..all() };
    assert_eq!(found(word(orders())).await, 0);
    assert_eq!(found(word(vec!["noise".parse().unwrap()])).await, 100);
}

#[tokio::test]
async fn what_many_say_is_found_of_one_unit_and_level_in_old_shelves_and_new_ones() {
    let mut folder = some().await;
    let check = async |folder: &Folder| {
        let now = entry::now() / 1000;
        let found = async |text: &str, units: &[&str], level: Option<LogLevel>, until: Option<u64>| {
            let units = units.iter().map(|unit| unit.parse().unwrap()).collect();
            let filter = LogFilter { units, level, grep: Some(text.into()), until, ..LogFilter::default() };
            folder.found(only(filter)).await.len()
        };
        assert_eq!(found("nothing new", &["noise"], None, None).await, 100);
        assert_eq!(found("nothing new", &["noise", "orders"], None, None).await, 100);
        assert_eq!(found("nothing new", &["orders"], None, None).await, 0);
        assert_eq!(found("nothing new", &["unknown"], None, None).await, 0);
        assert_eq!(found("nothing new", &[], Some(LogLevel::Info), None).await, 100);
        assert_eq!(found("nothing new", &[], Some(LogLevel::Warn), None).await, 0);
        assert_eq!(found("주문이 늦", &["orders"], Some(LogLevel::Warn), None).await, 1);
        assert_eq!(found("주문이 늦", &["orders"], Some(LogLevel::Error), None).await, 0);
        assert_eq!(found("ReadTimeout", &[], Some(LogLevel::Warn), None).await, 1, "worse ones too");
        // Shorter than the pieces of the index: within a line, at its end, common, rare and not there at all.
        assert_eq!(found("주문", &[], None, None).await, 1);
        assert_eq!(found("EW", &["noise"], None, None).await, 100);
        assert_eq!(found(")", &["orders"], None, None).await, 1, "the last of a line");
        assert_eq!(found("e", &["noise"], None, None).await, 100);
        assert_eq!(found("e", &["noise"], Some(LogLevel::Warn), None).await, 0);
        assert_eq!(found("주", &["orders"], Some(LogLevel::Warn), None).await, 1);
        assert_eq!(found("zq", &[], None, None).await, 0);
        assert_eq!(found("nothing new", &["noise"], None, Some(now + 1000)).await, 100);
        assert_eq!(found("nothing new", &["noise"], None, Some(now - 600_000)).await, 0);
    };
    check(&folder).await;

    // The version before had no marks.
    let archive = folder.logs().archive.clone();
    let unmarked = |tx: &madang_store::rusqlite::Transaction<'_>| {
        for shelf in Shelf::all(tx)? {
            let table = format!("log_words_{}", shelf.number);
            tx.execute_batch(&format!(
                "DROP TABLE {table};
                 CREATE VIRTUAL TABLE {table} USING fts5(
                     words, content='', columnsize=0, detail=none, tokenize='trigram');
                 INSERT INTO {table} (rowid, words)
                     SELECT row, body FROM log_lines WHERE row BETWEEN {} AND {};",
                shelf.first, shelf.last
            ))?;
        }
        tx.execute_batch(
            "DROP INDEX log_lines_of_trouble;
             DROP INDEX log_lines_of_trouble_by_unit;
             CREATE INDEX log_lines_of_trouble ON log_lines (at) WHERE level >= 4;
             ALTER TABLE log_shelves DROP COLUMN marked;
             ALTER TABLE log_shelves DROP COLUMN oldest;
             UPDATE schema_versions SET version = 2 WHERE engine = 'logs'",
        )
    };
    folder.stop().await;
    archive.write(unmarked).await.unwrap();
    let old = "SELECT count(*) FROM log_shelves";
    let old = archive.read(move |conn| conn.query_one(old, [], |row| row.get::<_, i64>(0))).await.unwrap();
    drop(archive);
    folder.start().await;
    check(&folder).await;
    // The second ends the first, which is kept before it is found; the last of a file is found before it is kept.
    folder.write("orders", "orders-1", "INFO nothing new here\nINFO it goes on\n");
    let filter = LogFilter {
        units: vec!["orders".parse().unwrap()],
        grep: Some("nothing new".into()),
        ..LogFilter::default()
    };
    assert_eq!(folder.lines(only(filter)).await, ["INFO nothing new here"]);
    let shelves = folder.logs().archive.read(Shelf::all).await.unwrap();
    assert_eq!(shelves.len() as i64, old + 1, "a new one, although the last was not full");
    assert!(shelves[0].marked && shelves[1..].iter().all(|shelf| !shelf.marked));
}

#[tokio::test]
async fn all_lines_are_all() {
    let folder = some().await;
    let since = Some(entry::now() / 1000 - 3_600_000);
    let all = |grep: Option<&str>| LogQuery {
        last: usize::MAX,
        ..only(LogFilter { since, grep: grep.map(str::to_owned), ..LogFilter::default() })
    };
    let found = folder.lines(all(None)).await;
    assert_eq!(found.len(), 5_003);
    assert!(found[..5_000].iter().enumerate().all(|(n, line)| line.ends_with(&format!("user-{n}"))));
    assert_eq!(folder.lines(all(Some("nothing new"))).await.len(), 5_000);
    assert_eq!(folder.lines(all(Some("of"))).await.len(), 5_000);
}
