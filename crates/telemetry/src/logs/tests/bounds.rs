//! What is too much.

use super::*;

#[tokio::test]
async fn a_noisy_instance_loses_its_chatter_and_neither_its_trouble_nor_the_others_lines() {
    let folder = Folder::with(LogConfig { lines_per_second: 50, ..LogConfig::default() }).await;
    folder.lines(last(1)).await;
    let flood: String = (0..5_000).map(|n| format!("chatter {n}\n")).collect();
    folder.write("noisy", "noisy-1", &(flood + "ERROR broken\n"));
    folder.write("users", "users-1", "INFO placed\n");
    let found = folder.lines(last(10_000)).await;
    assert!(found.contains(&"ERROR broken".to_owned()));
    assert!(found.contains(&"INFO placed".to_owned()));
    assert!((50..2_000).contains(&found.len()), "{}", found.len());
    let too_many = folder.logs().too_many();
    assert_eq!(too_many["noisy"] as usize + found.len(), 5_002);
    assert!(!too_many.contains_key("users"));
}

#[tokio::test]
async fn the_oldest_lines_make_room_and_what_indexed_them_goes_with_them() {
    let mut folder = Folder::with(LogConfig { largest: 24 << 20, lines_per_second: 1_000_000 }).await;
    folder.stop().await;
    folder.archive = ArchiveConfig { largest: 24 << 20, ..ArchiveConfig::default() };
    folder.start().await;
    for round in 0..30 {
        let text: String = (0..2_000_u64)
            .map(|n| format!("INFO round {round} line {n} {:x} {}\n", n * 7_919_117, "filler ".repeat(40)))
            .collect();
        folder.write("users", "users-1", &text);
        while folder.lines(last(1)).await != [text.lines().last().unwrap()] {}
        let size = |name: &str| folder.dir.path().join(name).metadata().map_or(0, |found| found.len());
        assert!(size("telemetry.db") + size("telemetry.db-wal") <= 24 << 20);
    }
    let found = folder.lines(last(10_000)).await;
    assert_eq!(found.len(), 10_000);
    let all = folder.lines(last(usize::MAX)).await;
    assert!((10_000..50_000).contains(&all.len()), "{}", all.len());
    assert!(all.last().unwrap().contains("round 29 line 1999 "));
    let filter = LogFilter { grep: Some("round 0 line".into()), ..LogFilter::default() };
    assert!(folder.lines(only(filter)).await.is_empty());
    let shelves = folder.logs().archive.read(kept::shelves::Shelf::all).await.unwrap();
    let oldest = folder
        .logs()
        .archive
        .read(|conn| conn.query_row("SELECT min(row) FROM log_lines", [], |row| row.get::<_, i64>(0)))
        .await;
    assert!(shelves.iter().all(|shelf| shelf.last >= *oldest.as_ref().unwrap()));
    assert_eq!(shelves.iter().map(|shelf| shelf.last - shelf.first + 1).max(), Some(2_000));
}
