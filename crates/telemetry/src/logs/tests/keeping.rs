//! What is kept, over restarts and whatever becomes of the files.

use super::*;

#[tokio::test]
async fn the_last_lines_come_in_the_order_of_time() {
    let folder = Folder::new().await;
    folder.write("users", "users-1", &(json(1, "a") + "trace of a\n" + &json(4, "d")));
    folder.write("orders", "orders-1", &(json(2, "b") + &json(5, "e")));
    folder.write("orders", "orders-2", &json(3, "c"));

    let all = folder.lines(last(100)).await;
    let dated: Vec<_> = messages(&all).into_iter().filter(|message| message.len() == 1).collect();
    assert_eq!(dated, ["a", "b", "c", "d", "e"]);
    assert!(all.contains(&"trace of a".to_owned()));
    assert_eq!(folder.lines(last(3)).await, all[3..]);
    assert!(folder.lines(last(0)).await.is_empty());
}

#[tokio::test]
async fn a_line_says_where_it_is_from_and_what_it_is() {
    let folder = Folder::new().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let line = format!(r#"{{"level":"WARN","message":"slow","ms":12,"trace_id":"{trace}"}}"#);
    folder.write("orders", "orders-1", &format!("{line}\n"));
    let found = folder.found(last(1)).await.remove(0);
    assert_eq!((&*found.unit, &*found.instance), ("orders", "orders-1"));
    assert_eq!((found.source, found.level), (LogSource::Output, Some(LogLevel::Warn)));
    assert_eq!((found.text(), &found.line), ("slow", &line));
    assert_eq!(found.trace_id, trace.parse().ok());
    assert_eq!(found.fields["ms"], 12);
}

#[tokio::test]
async fn an_empty_or_missing_folder_has_no_lines_and_what_is_no_file_is_passed_over() {
    let folder = Folder::new().await;
    assert!(folder.lines(last(9)).await.is_empty());
    folder.write("users", "users-1", "a\n");
    fs::create_dir(folder.path("users", "users-2")).unwrap();
    let broken = folder.path("users", "users-0");
    std::os::unix::fs::symlink(&broken, &broken).unwrap();
    assert_eq!(folder.lines(last(9)).await, ["a"]);
}

#[tokio::test]
async fn a_stack_trace_is_one_line_and_what_has_no_end_is_shown_but_not_yet_kept() {
    let mut folder = Folder::new().await;
    folder.write("web", "web-1", "ERROR failed\nTraceback (most recent call last):\n  File \"a\"\nKeyE");
    let whole = "ERROR failed\nTraceback (most recent call last):\n  File \"a\"";
    assert_eq!(folder.lines(last(9)).await, [whole, "KeyE"]);
    folder.kill().await;
    folder.write("web", "web-1", "rror: 1\nnext\n");
    folder.start().await;
    assert_eq!(folder.lines(last(9)).await, [&format!("{whole}\nKeyError: 1"), "next"]);
}

#[tokio::test]
async fn a_restart_neither_loses_nor_doubles_a_line() {
    let mut folder = Folder::new().await;
    let mut expected = Vec::new();
    for round in 0..6 {
        for n in 0..40 {
            let line = format!("round {round} line {n}");
            folder.write("users", &format!("users-{}", n % 3), &format!("{line}\n"));
            expected.push(line);
        }
        if round % 2 == 0 {
            // Some of it is written, some read, some neither.
            folder.lines(last(1)).await;
            folder.write("users", "users-0", &format!("late {round}\n"));
            expected.push(format!("late {round}"));
        }
        match round % 3 {
            0 => folder.kill().await,
            1 => folder.stop().await,
            _ => continue,
        }
        folder.write("users", "users-1", &format!("between {round}\n"));
        expected.push(format!("between {round}"));
        folder.start().await;
    }
    let mut found = folder.lines(last(10_000)).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_file_that_is_truncated_replaced_or_gone_is_read_to_its_end_and_from_its_beginning() {
    let mut folder = Folder::new().await;
    let path = folder.path("users", "users-1");
    folder.write("users", "users-1", "a long first line\n");
    assert_eq!(folder.lines(last(9)).await.len(), 1);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    folder.write("users", "users-1", "b\n");
    assert_eq!(folder.lines(last(1)).await, ["b"]);
    folder.write("users", "users-1", "last of the old\n");
    fs::rename(&path, path.with_extension("old")).unwrap();
    folder.write("users", "users-1", "first of the new\n");
    // The one before is read to its end first.
    while folder.lines(last(1)).await != ["first of the new"] {}
    folder.write("users", "users-2", "last words\n");
    assert_eq!(folder.lines(last(1)).await, ["last words"]);
    fs::remove_file(folder.path("users", "users-2")).unwrap();
    folder.stop().await;
    folder.start().await;
    let (mut all, mut found) = (
        ["a long first line", "b", "last of the old", "first of the new", "last words"],
        folder.lines(last(9)).await,
    );
    // Lines of two files are in the order of their times, and the kernel gives a file's in steps of milliseconds.
    all.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, all, "also of files that are gone, and none twice");
}

#[tokio::test]
async fn a_head_that_was_freed_costs_no_line_but_its_own() {
    let mut folder = Folder::new().await;
    folder.stop().await;
    let line = format!("{}\n", "x".repeat(999));
    folder.write("users", "users-1", &line.repeat(100));
    free_head(&folder.path("users", "users-1"), 65_536);
    folder.start().await;
    folder.write("users", "users-1", "after\n");
    // 34,464 bytes are left from byte 65,536 on: a piece of a line, 34 lines, and the new one.
    let found = folder.lines(last(1000)).await;
    assert_eq!(found.len(), 36);
    assert_eq!(found.last().unwrap(), "after");
}

#[tokio::test]
async fn lines_by_otlp_are_beside_the_others_and_there_after_a_restart() {
    let mut folder = Folder::new().await;
    folder.write("users", "users-1", "by file\n");
    let record = LogRecord {
        at: entry::now(),
        unit: "orders".into(),
        instance: "orders-1".into(),
        release: Some("r7".into()),
        level: Some(LogLevel::Error),
        trace_id: "0af7651916cd43dd8448eb211c80319c".parse().ok(),
        span_id: None,
        body: "refused".into(),
        fields: serde_json::from_str(r#"{"code":7}"#).unwrap(),
    };
    assert_eq!(folder.logs().push(vec![record]), 0);
    let filter = LogFilter { level: Some(LogLevel::Error), ..LogFilter::default() };
    let found = folder.found(only(filter)).await.remove(0);
    assert_eq!((found.source, found.text(), &found.fields["code"]), (LogSource::Otlp, "refused", &7.into()));
    assert_eq!(found.release.as_deref(), Some("r7"));
    assert_eq!(folder.lines(last(9)).await.len(), 2);
    folder.stop().await;
    folder.start().await;
    let filter = LogFilter { grep: Some("code=7".into()), ..LogFilter::default() };
    assert_eq!(folder.found(only(filter)).await, [found]);
    assert_eq!(folder.lines(last(9)).await.len(), 2);
}
