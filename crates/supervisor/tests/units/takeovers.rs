//! What becomes of units whose supervisor was killed, under the next one.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use madang_model::Unit;
use madang_wire::admin::{EventKind, InstanceView, State};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::*;

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

fn row_of<'a>(rows: &'a [InstanceView], unit: &str) -> &'a InstanceView {
    rows.iter().find(|row| row.unit == unit).unwrap()
}

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Changes what is recorded.
async fn change(folder: &TempDir, change: String) {
    state(folder).write(move |tx| tx.execute_batch(&change)).await.unwrap();
}

/// A unit whose program is a file of its own.
fn with_program(name: &str, folder: &Path) -> (Unit, PathBuf) {
    let program = folder.join(name);
    write_program(&program, "");
    (Unit { folder: folder.to_owned(), ..unit(name, &format!("./{name}")) }, program)
}

fn write_program(program: &Path, comment: &str) {
    use std::os::unix::fs::PermissionsExt;
    // Renamed over the old one, which runs.
    let staged = program.with_extension("new");
    fs::write(&staged, format!("#!/bin/sh\n#{comment}\nexec sleep 600\n")).unwrap();
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(staged, program).unwrap();
}

#[tokio::test]
async fn what_is_as_it_should_be_goes_on_and_is_watched_as_before() {
    let folder = folder();
    let units = || [server("users"), unit("mailer", "sleep 600 & setsid sleep 600 & wait")];
    let rows = left(&folder, units());
    let (users, mailer) = (row_of(&rows, "users"), row_of(&rows, "mailer"));

    let mut running = run_in(folder.clone(), units(), |_| {}).await;
    let in_rotation = running.rotation.when(&format!("ready {}", users.name));
    assert!(in_rotation.is_some(), "it is in rotation before anything runs");
    let adopted = running.event("users", EventKind::Adopted).await;
    let expected = format!("pid {}, {}", users.pid.unwrap(), users.url.as_ref().unwrap());
    assert_eq!((adopted.instance.as_ref(), adopted.message), (Some(&users.name), expected));
    running.ready().await;
    for before in [users, mailer] {
        let now = running.row(&before.unit);
        let same = |row: &InstanceView| (row.name.clone(), row.pid, row.url.clone(), row.log.clone());
        assert_eq!(same(&now), same(before));
        assert_eq!((now.state, &*now.health), (State::Ready, "ready, adopted"));
    }

    // Its exit is known at once, and all of its family goes with it.
    kill(mailer.pid.unwrap(), Signal::KILL);
    let exited = running.event("mailer", EventKind::Exited).await;
    let said = "exited, how is not known: a node before this one had started it";
    assert_eq!(exited.message.lines().next(), Some(said));
    assert_eq!(marked(&mailer.name), [0; 0]);
    running.event("mailer", EventKind::Ready).await;
    assert_eq!(running.row("mailer").restarts, 1);

    assert!(alive(users.pid.unwrap()));
    running.stop().await;
    assert_eq!(marked(&users.name), [0; 0]);
}

#[tokio::test]
async fn only_what_changed_is_replaced_and_the_new_one_is_ready_first() {
    let folder = folder();
    let bin = tempfile::tempdir().unwrap();
    let (tool, program) = with_program("tool", bin.path());
    let units = || [server("users"), server("orders"), server("payments"), tool.clone()];
    let rows = left(&folder, units());
    write_program(&program, "another");
    let mut edited = units();
    edited[1].env.insert("LEVEL".into(), "debug".into());

    let running = run_in(folder, edited, |_| {}).await;
    for (unit, why) in [("orders", "its part of the manifest changed"), ("tool", "its program changed")] {
        until("it is replaced", || running.history(unit).contains(&EventKind::Stopped)).await;
        assert_eq!(running.why_restarted(unit), why);
        let (now, before) = (running.row(unit), row_of(&rows, unit));
        assert_ne!(now.pid, before.pid);
        assert_eq!(now.health, format!("ready, restarted: {why}"));
        let said = |what: &str, of: &InstanceView| running.rotation.when(&format!("{what} {}", of.name));
        assert!(said("ready", &now).unwrap() < said("gone", before).unwrap());
    }
    for unit in ["users", "payments"] {
        assert_eq!(running.row(unit).pid, row_of(&rows, unit).pid, "{unit}");
    }
    running.stop().await;
}

/// A process that is nobody's of any system.
struct Stranger(Child);

impl Stranger {
    fn start(told: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").envs(told.iter().copied()).process_group(0).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn who_is_not_the_one_that_was_recorded_is_left_alone() {
    let folder = folder();
    let units = || ["gone", "reused", "booted"].map(|name| unit(name, "sleep 600"));
    let rows = left(&folder, units());
    rows.iter().for_each(|row| kill(row.pid.unwrap(), Signal::KILL));
    let stranger = Stranger::start(&[]);
    let pid = stranger.0.id();
    let forged = format!(
        "UPDATE supervisor_instances SET pid = {pid}, started_ticks = 1 WHERE unit = 'reused';
         UPDATE supervisor_instances SET boot = 'another' WHERE unit = 'booted';"
    );
    change(&folder, forged).await;

    let running = run_in(folder, units(), |_| {}).await;
    running.ready().await;
    let reused = format!("its pid {pid} is another process now");
    let reasons = [
        ("gone", "it exited while no node watched it"),
        ("reused", &reused),
        ("booted", "the machine was booted since"),
    ];
    for (unit, why) in reasons {
        assert_eq!(running.why_restarted(unit), why);
        assert_eq!(running.row(unit).health, format!("ready, restarted: {why}"));
    }
    running.stop().await;
    assert!(alive(pid), "it is somebody else");
}

#[tokio::test]
async fn one_of_which_there_is_no_record_is_stopped_and_never_doubled() {
    let folder = folder();
    let rows = left(&folder, ["users", "orders"].map(|name| unit(name, "sleep 600")));
    change(&folder, "DELETE FROM supervisor_instances WHERE unit = 'users'".into()).await;
    change(&folder, "UPDATE supervisor_instances SET pid = NULL WHERE unit = 'orders'".into()).await;
    // It says that it is of another system.
    let stranger = Stranger::start(&[("TOLD", "users-aaaaaa of users"), ("OF", "/elsewhere")]);

    let running = run_in(folder, ["users", "orders"].map(|name| unit(name, "sleep 600")), |_| {}).await;
    for (unit, why) in [("users", "no record of it was written"), ("orders", "its process was not recorded")]
    {
        until("it is stopped", || running.history(unit).contains(&EventKind::Stopped)).await;
        assert_eq!(running.why_restarted(unit), why);
        assert_eq!(marked(&row_of(&rows, unit).name), [0; 0]);
    }
    running.ready().await;
    running.stop().await;
    assert!(alive(stranger.0.id()));
}

#[tokio::test]
async fn one_that_would_be_told_something_else_now_is_replaced() {
    let folder = folder();
    let rows = left(&folder, [server("users"), server("orders")]);
    let moved =
        "UPDATE supervisor_instances SET told = replace(told, 'OURS=', 'OURS=0') WHERE unit = 'users'";
    change(&folder, moved.into()).await;

    let mut running = run_in(folder, [server("users"), server("orders")], |_| {}).await;
    running.event("users", EventKind::Stopped).await;
    assert_eq!(running.why_restarted("users"), "OURS in its environment changed");
    assert_eq!(running.row("orders").pid, row_of(&rows, "orders").pid);
    running.stop().await;
}

#[tokio::test]
async fn one_whose_unit_is_gone_from_the_manifest_is_stopped() {
    let folder = folder();
    let rows = left(&folder, [unit("users", "sleep 600"), unit("orders", "sleep 600")]);
    let mut running = run_in(folder, [unit("users", "sleep 600")], |_| {}).await;
    running.event("orders", EventKind::Stopped).await;
    assert!(!alive(row_of(&rows, "orders").pid.unwrap()));
    assert!(alive(row_of(&rows, "users").pid.unwrap()));
    assert!(running.rows("orders").is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_build_that_fails_leaves_what_runs_and_starts_it_again_when_it_exits() {
    let folder = folder();
    let broken = folder.path().join("broken");
    let build = Some(format!("test ! -e {}", broken.display()));
    let units = || [Unit { build: build.clone(), ..unit("users", "sleep 600") }];
    let rows = left(&folder, units());
    fs::write(&broken, "").unwrap();

    let mut running = run_in(folder, units(), |_| {}).await;
    running.event("users", EventKind::BuildFailed).await;
    let pid = row_of(&rows, "users").pid;
    assert_eq!((running.row("users").pid, running.state("users")), (pid, State::Ready));
    kill(pid.unwrap(), Signal::KILL);
    running.event("users", EventKind::Ready).await;
    assert_ne!(running.row("users").pid, pid);
    running.stop().await;
}

#[tokio::test]
async fn a_supervisor_that_never_ran_leaves_everything_as_it_was() {
    let folder = folder();
    let rows = left(&folder, [server("users")]);
    let pid = row_of(&rows, "users").pid.unwrap();
    drop(found(&folder, [server("users")]).await);
    assert!(alive(pid));
    let running = run_in(folder, [server("users")], |_| {}).await;
    running.ready().await;
    assert_eq!(running.row("users").pid, Some(pid));
    running.stop().await;
}
