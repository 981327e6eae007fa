//! Queries over real files.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Appends as a service does.
    fn write(&self, unit: &str, instance: &str, text: &str) {
        let folder = self.0.path().join(unit);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{instance}.log"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn path(&self, unit: &str, instance: &str) -> PathBuf {
        self.0.path().join(unit).join(format!("{instance}.log"))
    }

    fn query(&self, query: LogQuery) -> impl Stream<Item = Result<LogLine, Error>> + Unpin + use<> {
        Box::pin(Logs::new(self.0.path()).query(query))
    }

    /// All lines of a query that ends.
    async fn lines(&self, query: LogQuery) -> Vec<String> {
        self.query(query).map(|line| line.unwrap().line).collect().await
    }
}

/// The next lines of a query that follows.
async fn next(lines: &mut (impl Stream<Item = Result<LogLine, Error>> + Unpin), n: usize) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..n {
        let line = timeout(Duration::from_secs(5), lines.next()).await;
        found.push(line.unwrap_or_else(|_| panic!("only {found:?} came")).unwrap().unwrap().line);
    }
    found
}

fn json(second: u32, message: &str) -> String {
    format!("{{\"timestamp\":\"2026-01-01T00:00:{second:02}Z\",\"message\":\"{message}\"}}\n")
}

fn last(n: usize) -> LogQuery {
    LogQuery { last: n, ..LogQuery::default() }
}

fn follow(n: usize) -> LogQuery {
    LogQuery { last: n, follow: true, ..LogQuery::default() }
}

fn messages(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split("message\":\"").nth(1).map_or(&**line, |rest| &rest[..1])).collect()
}

#[tokio::test]
async fn the_last_lines_come_in_the_order_of_time() {
    let folder = Folder::new();
    folder.write("users", "users-1", &(json(1, "a") + "trace of a\n" + &json(4, "d")));
    folder.write("orders", "orders-1", &(json(2, "b") + &json(5, "e")));
    folder.write("orders", "orders-2", &json(3, "c"));

    let all = folder.lines(last(100)).await;
    assert_eq!(messages(&all), ["a", "trace of a", "b", "c", "d", "e"]);
    assert_eq!(messages(&folder.lines(last(3)).await), ["c", "d", "e"]);
    assert!(folder.lines(last(0)).await.is_empty());
}

#[tokio::test]
async fn a_line_says_where_it_is_from_and_units_and_time_can_be_chosen() {
    let folder = Folder::new();
    folder.write("users", "users-1", &json(1, "a"));
    folder.write("orders", "orders-1", &(json(2, "b") + &json(3, "c")));
    let since = Some(1_767_225_603_000);
    let query = LogQuery { units: vec!["orders".parse().unwrap()], since, ..LogQuery::default() };
    let found: Vec<_> = folder.query(query).map(Result::unwrap).collect().await;
    let line = json(3, "c").trim_end().to_owned();
    let (unit, instance) = ("orders".to_owned(), "orders-1".to_owned());
    assert_eq!(found, [LogLine { at: 1_767_225_603_000, unit, instance, line }]);
}

#[tokio::test]
async fn plain_lines_before_the_first_date_take_it_and_without_any_the_files_own() {
    let folder = Folder::new();
    folder.write("web", "web-1", &("banner\n".to_owned() + &json(1, "a")));
    folder.write("old", "old-1", &json(2, "b"));
    folder.write("plain", "plain-1", "hello\n");
    assert_eq!(messages(&folder.lines(last(9)).await), ["banner", "a", "b", "hello"]);
}

#[tokio::test]
async fn an_empty_or_missing_folder_has_no_lines() {
    let folder = Folder::new();
    assert!(folder.lines(last(9)).await.is_empty());
    let missing = Logs::new(folder.0.path().join("missing"));
    assert!(missing.query(last(9)).collect::<Vec<_>>().await.is_empty());
}

#[tokio::test]
async fn what_is_no_file_is_passed_over() {
    let folder = Folder::new();
    folder.write("users", "users-1", "a\n");
    fs::create_dir(folder.path("users", "users-2")).unwrap();
    let broken = folder.path("users", "users-0");
    std::os::unix::fs::symlink(&broken, &broken).unwrap();
    assert_eq!(folder.lines(last(9)).await, ["a"]);
}

#[tokio::test]
async fn followed_lines_come_once_they_are_whole() {
    let folder = Folder::new();
    folder.write("users", "users-1", "a\nb\nhal");
    let mut lines = folder.query(follow(1));
    assert_eq!(next(&mut lines, 1).await, ["b"]);
    folder.write("users", "users-1", "f\nc\n");
    assert_eq!(next(&mut lines, 2).await, ["half", "c"]);
}

#[tokio::test]
async fn followed_files_may_appear_later() {
    let folder = Folder::new();
    let mut lines = folder.query(follow(10));
    folder.write("users", "users-1", "a\n");
    assert_eq!(next(&mut lines, 1).await, ["a"]);
    folder.write("users", "users-2", "b\n");
    folder.write("orders", "orders-1", "c\n");
    let mut two = next(&mut lines, 2).await;
    two.sort();
    assert_eq!(two, ["b", "c"]);
}

#[tokio::test]
async fn a_file_that_is_truncated_or_replaced_is_followed_from_its_beginning() {
    let folder = Folder::new();
    folder.write("users", "users-1", "a long first line\n");
    let mut lines = folder.query(follow(10));
    assert_eq!(next(&mut lines, 1).await, ["a long first line"]);

    let path = folder.path("users", "users-1");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    folder.write("users", "users-1", "b\n");
    assert_eq!(next(&mut lines, 1).await, ["b"]);

    folder.write("users", "users-1", "last of the old\n");
    fs::rename(&path, path.with_extension("old")).unwrap();
    folder.write("users", "users-1", "first of the new\n");
    assert_eq!(next(&mut lines, 2).await, ["last of the old", "first of the new"]);
}

#[tokio::test]
async fn a_head_freed_while_following_costs_no_line() {
    let folder = Folder::new();
    let line = format!("{}\n", "x".repeat(999));
    folder.write("users", "users-1", &line.repeat(100));
    let mut lines = folder.query(follow(2));
    assert_eq!(next(&mut lines, 2).await, [line.trim_end(), line.trim_end()]);
    free_head(&folder.path("users", "users-1"), 65_536);
    folder.write("users", "users-1", "after\n");
    assert_eq!(next(&mut lines, 1).await, ["after"]);
    // 100,006 bytes are left from byte 65,536 on; the line at the cut is a piece and not shown.
    assert_eq!(folder.lines(last(1000)).await.len(), 35);
}

fn free_head(path: &Path, bytes: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let file = OpenOptions::new().write(true).open(path).unwrap();
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, bytes).unwrap();
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_several_write() {
    const EACH: usize = 2_000;
    let folder = Folder::new();
    folder.write("a", "a-1", "first\n");
    let mut lines = folder.query(follow(10));
    assert_eq!(next(&mut lines, 1).await, ["first"]);
    let root = folder.0.path().to_owned();
    let writers: Vec<_> = ["a", "b", "c"]
        .map(|unit| {
            let root = root.clone();
            std::thread::spawn(move || {
                let folder = root.join(unit);
                fs::create_dir_all(&folder).unwrap();
                let path = folder.join(format!("{unit}-1.log"));
                let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
                for n in 0..EACH {
                    file.write_all(format!("{unit} {n}\n").as_bytes()).unwrap();
                }
            })
        })
        .into();
    let mut came = next(&mut lines, EACH * 3).await;
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let of_a: Vec<_> = came.iter().filter(|line| line.starts_with('a')).collect();
    assert!(of_a.iter().enumerate().all(|(n, line)| **line == format!("a {n}")), "in order within a file");
    came.sort();
    came.dedup();
    assert_eq!(came.len(), EACH * 3);
}

#[tokio::test]
async fn a_slow_reader_holds_the_reading_up_and_misses_nothing() {
    const LINES: usize = AHEAD * 20;
    let folder = Folder::new();
    let text: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    folder.write("users", "users-1", &text);
    let mut lines = folder.query(follow(usize::MAX));
    assert_eq!(next(&mut lines, 1).await, ["0"]);
    folder.write("users", "users-1", "end\n");
    let rest = next(&mut lines, LINES).await;
    assert_eq!(rest.last().unwrap(), "end");
    assert_eq!(rest.len(), LINES);
}
