//! What is kept of instances: who runs, for a node that comes after this one, and what they wrote.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use madang_store::Store;
use madang_wire::admin::EventKind;

use crate::harness::*;

/// A process that is not the supervisor's.
struct Sleeper(Child);

impl Sleeper {
    fn start(env: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sleep");
        command
            .arg("60")
            .envs(env.iter().copied())
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
async fn what_a_killed_node_left_is_stopped_and_what_only_has_its_pid_is_not() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    // A first life of the node, for its tables.
    run_in(folder.clone(), [], |_| {}).await.stop().await;
    let mut left = Sleeper::start(&[("MADANG_INSTANCE", "users-left00")]);
    let mut stranger = Sleeper::start(&[]);
    let rows = [("users-left00", left.0.id(), 0), ("users-reused", stranger.0.id(), 1)];
    for (instance, pid, off) in rows {
        let (pid, started, boot) = (i64::from(pid), started_ticks(pid) - off, boot());
        let insert = "INSERT INTO supervisor_instances
            (instance, unit, release, boot, pid, started_ticks, log, started_at)
            VALUES (?1, 'users', '0123456789ab', ?2, ?3, ?4, '', 0)";
        state(&folder).write(move |tx| tx.execute(insert, (instance, boot, pid, started))).await.unwrap();
    }
    let mut running = run_in(folder, [unit("users", "sleep 60")], |_| {}).await;
    let said = running.event("users", EventKind::Stopping).await;
    let expected = format!("was left running (pid {}) by a node that is gone", left.0.id());
    assert!(said.message.starts_with(&expected), "{}", said.message);
    running.ready().await;
    assert!(left.0.try_wait().map_or(true, |exit| exit.is_some()), "it was stopped");
    assert!(stranger.0.try_wait().unwrap().is_none(), "it is somebody else");
    assert_eq!(running.history("users")[..2], [EventKind::Stopping, EventKind::Stopped]);
    running.stop().await;
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
