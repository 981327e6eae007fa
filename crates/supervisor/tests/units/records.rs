//! What is kept of instances: who runs, for a node that comes after this one, and what they wrote.

use std::fs;

use madang_store::Store;
use madang_wire::admin::EventKind;

use crate::harness::*;

type Row = (String, i64, i64, Option<i64>, String);

async fn recorded(store: &Store) -> Vec<Row> {
    let rows = store.read(|conn| {
        let columns =
            "SELECT instance, pid, started_ticks, port, boot FROM supervisor_instances WHERE pid > 0";
        let mut rows = conn.prepare(columns)?;
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
            .collect()
    });
    rows.await.unwrap()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

fn started_ticks(pid: u32) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_identity_of_each_instance_is_recorded_until_it_is_gone() {
    let running = run([server("users")]).await;
    running.ready().await;
    let row = running.row("users");
    let pid = row.pid.unwrap();
    let port: i64 = row.url.as_ref().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let expected = (row.name, i64::from(pid), started_ticks(pid), Some(port), boot());
    let mut rows = vec![];
    for _ in 0..200 {
        rows = recorded(&running.store).await;
        if !rows.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(rows, [expected]);
    let store = running.store.clone();
    running.stop().await;
    assert_eq!(recorded(&store).await, []);
}

#[tokio::test]
async fn output_goes_to_a_file_that_is_only_ever_appended_to() {
    let mut running = run([unit("users", "echo out; echo err >&2; exec sleep 60")]).await;
    running.ready().await;
    let row = running.row("users");
    assert_eq!(running.log(&row), "out\nerr\n");
    assert_eq!(row.log.as_deref(), running.logs.join(format!("users/{}.log", row.name)).to_str());
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/1", row.pid.unwrap())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    const APPEND: u32 = 0o2000;
    assert_ne!(u32::from_str_radix(flags.trim(), 8).unwrap() & APPEND, 0, "{info}");
    running.handle.restart("users".parse().unwrap());
    running.event("users", EventKind::Stopped).await;
    assert_eq!(running.log(&row), "out\nerr\n", "the log outlives its instance");
    running.stop().await;
}
