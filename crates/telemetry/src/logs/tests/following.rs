//! Lines as they come: each once, whatever of it was kept before.

use super::*;

#[tokio::test]
async fn followed_lines_come_once_they_are_whole() {
    let folder = Folder::new().await;
    folder.write("users", "users-1", "a\nb\nhal");
    let mut lines = folder.query(follow(1));
    assert_eq!(next(&mut lines, 1).await, ["b"]);
    folder.write("users", "users-1", "f\nc\n");
    assert_eq!(next(&mut lines, 2).await, ["half", "c"]);
}

#[tokio::test]
async fn followed_files_may_appear_later() {
    let folder = Folder::new().await;
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
    let folder = Folder::new().await;
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
async fn filters_hold_for_what_comes_and_what_continues_a_line_comes_with_it() {
    let folder = Folder::new().await;
    folder.write("users", "users-1", "ERROR before\nINFO quiet\n");
    folder.write("orders", "orders-1", "ERROR of orders\n");
    let filter = LogFilter {
        units: vec!["users".parse().unwrap()],
        level: Some(LogLevel::Error),
        ..LogFilter::default()
    };
    let mut lines = folder.query(LogQuery { follow: true, ..only(filter) });
    assert_eq!(next(&mut lines, 1).await, ["ERROR before"]);
    folder.write("users", "users-1", "INFO no\nERROR yes\n  at once\nINFO no\nERROR too\n");
    assert_eq!(next(&mut lines, 3).await, ["ERROR yes", "  at once", "ERROR too"]);
}

#[tokio::test]
async fn lines_by_otlp_are_followed_once() {
    let folder = Folder::new().await;
    let send = |body: &str| {
        let record = LogRecord {
            at: entry::now(),
            unit: "orders".into(),
            instance: "orders-1".into(),
            release: None,
            level: None,
            trace_id: None,
            span_id: None,
            body: body.into(),
            fields: serde_json::Map::new(),
        };
        assert_eq!(folder.logs().push(vec![record]), 0);
    };
    send("before");
    let mut lines = folder.query(follow(10));
    assert_eq!(next(&mut lines, 1).await, ["before"]);
    send("after");
    send("and after");
    assert_eq!(next(&mut lines, 2).await, ["after", "and after"]);
}

/// Several follow from different moments on, while the lines are read and kept.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_between_what_is_kept_and_what_comes() {
    const EACH: usize = 1_500;
    let folder = Folder::new().await;
    let root = folder.dir.path().join("logs");
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
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(folder.query(follow(10_000)));
        tokio::task::yield_now().await;
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    for lines in &mut readers {
        let mut came = next(lines, EACH * 3).await;
        let of_a: Vec<_> = came.iter().filter(|line| line.starts_with('a')).collect();
        assert!(
            of_a.iter().enumerate().all(|(n, line)| **line == format!("a {n}")),
            "in order within a file"
        );
        came.sort();
        came.dedup();
        assert_eq!(came.len(), EACH * 3);
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_reading_up_and_misses_nothing() {
    const LINES: usize = AHEAD * 20;
    let folder = Folder::new().await;
    let mut lines = folder.query(follow(usize::MAX));
    let text: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    folder.write("users", "users-1", &text);
    assert_eq!(next(&mut lines, 1).await, ["0"]);
    folder.write("users", "users-1", "end\n");
    let rest = next(&mut lines, LINES).await;
    assert_eq!(rest.last().unwrap(), "end");
    assert_eq!(rest.len(), LINES);
}
