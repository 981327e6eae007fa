//! How units are built.

use std::{fs, path::Path};

use madang_model::{Database, Unit};
use madang_wire::admin::{EventKind, State};
use rustix::process::Signal;

use crate::harness::*;

fn built(name: &str, folder: &Path, build: &str) -> Unit {
    let mut unit = unit(name, "sleep 60");
    (unit.folder, unit.build) = (folder.to_owned(), Some(build.to_owned()));
    unit
}

#[tokio::test]
async fn equal_commands_run_once_and_again_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let count = || fs::read_to_string(folder.path().join("built")).unwrap().lines().count();
    let command = "echo built >> built";
    let mut running =
        run([built("users", folder.path(), command), built("orders", folder.path(), command)]).await;
    running.ready().await;
    assert_eq!(count(), 1);
    running.handle.restart("users".parse().unwrap());
    running.event("users", EventKind::Stopped).await;
    assert_eq!(count(), 2);
    running.edit(|units| units.get_mut("orders").unwrap().replicas = 2);
    running.event("orders", EventKind::Ready).await;
    assert_eq!(count(), 2, "scaling builds nothing");
    running.stop().await;
}

#[tokio::test]
async fn a_failed_first_build_is_said_with_its_output_once_and_the_unit_failed() {
    let folder = tempfile::tempdir().unwrap();
    let command = "echo 'error: expected `;`' >&2; exit 101";
    let mut running =
        run([built("users", folder.path(), command), built("orders", folder.path(), command)]).await;
    let first = running.event("orders", EventKind::BuildFailed).await;
    assert!(first.message.contains("exited with code 101"), "{}", first.message);
    assert!(first.message.ends_with("\nerror: expected `;`"), "{}", first.message);
    let second = running.event("users", EventKind::BuildFailed).await;
    assert_eq!(second.message, "its build is that of orders, which failed");
    until("it is known", || running.state("users") == State::Failed).await;
    assert!(running.row("users").reason.unwrap().contains("error: expected"));
    assert!(!running.history("users").contains(&EventKind::Started));
    running.stop().await;
}

#[tokio::test]
async fn a_failed_build_of_an_edit_keeps_the_old_release_running() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = run([built("users", folder.path(), "true")]).await;
    running.ready().await;
    let before = running.row("users");
    running.edit(|units| units.get_mut("users").unwrap().build = Some("exit 1".into()));
    running.event("users", EventKind::BuildFailed).await;
    let after = running.row("users");
    assert_eq!((after.pid, after.state), (before.pid, State::Ready));
    running.stop().await;
}

#[tokio::test]
async fn a_release_that_was_kept_is_told_what_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut users = built("users", folder.path(), "true");
    users.run = "echo $DATABASE; exec sleep 60".into();
    let mut running = run([users]).await;
    running.ready().await;
    let database = |running: &mut Running, file: &str| {
        let service = running.system.services.values_mut().next().unwrap();
        service.database = Some(Database::Sqlite(file.into()));
    };
    database(&mut running, "/old.db");
    running.edit(|_| {});
    running.event("users", EventKind::Stopped).await;
    database(&mut running, "/new.db");
    running.edit(|units| units.get_mut("users").unwrap().build = Some("exit 1".into()));
    running.event("users", EventKind::BuildFailed).await;
    kill(running.row("users").pid.unwrap(), Signal::KILL);
    running.event("users", EventKind::Exited).await;
    running.event("users", EventKind::Ready).await;
    assert_eq!(running.log(&running.row("users")), "sqlite:/old.db\n");
    running.stop().await;
}

#[tokio::test]
async fn a_build_that_is_under_way_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = run([built("users", folder.path(), "echo $$ > pid; sleep 600")]).await;
    running.event("users", EventKind::Building).await;
    let pid = folder.path().join("pid");
    until("it builds", || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))).await;
    let story = running.story.clone();
    running.stop().await;
    let pid = fs::read_to_string(pid).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
    assert!(story.so_far().iter().all(|event| event.kind != EventKind::BuildFailed));
}
