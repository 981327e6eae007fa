//! Ten times the budget of lines, in a process of its own whose memory can be measured.

use std::{fs, io::Write};

use futures_util::StreamExt;
use madang_telemetry::{Archive, ArchiveConfig, LogConfig, LogQuery, Logs};

fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn a_flood_needs_no_more_memory_the_longer_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&folder.path().join("telemetry.db"), ArchiveConfig::default()).await.unwrap();
    let config = LogConfig { lines_per_second: 1000, ..LogConfig::default() };
    let logs = Logs::new(folder.path().join("logs"), &archive, config);
    let keeping = tokio::spawn(logs.clone().run(std::future::pending()));
    let last = async || {
        let mut found = Box::pin(logs.query(LogQuery { last: 1, ..LogQuery::default() }));
        found.next().await.map(|line| line.unwrap().line)
    };
    assert_eq!(last().await, None);
    fs::create_dir_all(folder.path().join("logs/noisy")).unwrap();
    let path = folder.path().join("logs/noisy/noisy-1.log");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut after = Vec::new();
    for round in 0..12 {
        let text: String =
            (0..20_000).map(|n| format!("round {round} chatter {n} {}\n", "x".repeat(100))).collect();
        file.write_all(text.as_bytes()).unwrap();
        // The last of it is trouble, which is kept.
        file.write_all(format!("ERROR round {round} ends\n").as_bytes()).unwrap();
        while last().await != Some(format!("ERROR round {round} ends")) {}
        after.push(memory());
    }
    assert!(after[11].saturating_sub(after[6]) < 6 << 20, "{after:?}");
    assert!(logs.too_many()["noisy"] > 80_000, "{:?}", logs.too_many());
    keeping.abort();
}
