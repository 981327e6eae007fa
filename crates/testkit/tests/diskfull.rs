//! The disk is full: services and their traffic go on, what needs it says so, and all is well once there is room.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use http::StatusCode;
use madang_testkit::{Load, Placement, Prepared, TestSystem};
use madang_wire::{
    admin::{InstanceView, State},
    log::LogLine,
};
use serde_json::json;

/// A small file system of its own, in memory, where a system keeps what is its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(system: &Path) -> Self {
        let folder = system.join(".madang");
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs"])
            .arg(&folder)
            .output()
            .expect("mount(8) is there");
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(
            mounted.status.success(),
            "this test mounts a small tmpfs, for which it must be root: {said}"
        );
        Self(folder)
    }

    /// Until not a byte more fits.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![0; size];
            loop {
                match file.write(&block) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file in it keeps that and nothing else.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The shop, and beside it a service that keeps nothing.
fn shop_with_plain() -> Prepared {
    let shop = Prepared::shop();
    let plain =
        format!("[services.plain]\nrun = \"{}\"\nroutes = [\"/plain/**\"]\n", env!("CARGO_BIN_EXE_plain"));
    shop.edit("madang.toml", "[gateway]", &format!("{plain}\n[gateway]"));
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_on_and_what_needs_the_disk_recovers_by_itself() {
    let shop = shop_with_plain();
    let disk = SmallDisk::mount(shop.path());
    let mut shop = shop.start(Placement::Processes).await;
    let mut kept = Vec::new();
    kept.push(shop.post("/users", json!({"name": "before"})).await.json()["id"].clone());
    let reads = Load::start(shop.gateway_address(), "/users/1", 2);
    let plain = Load::start(shop.gateway_address(), "/plain/load", 2);
    plain.answered(50).await;

    disk.fill();
    shop.until_printed("degraded").await;
    let ps = shop.madang(&["ps"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&ps.stderr).into_owned();
    assert!(said.contains("is full: requests are answered"), "{said}");
    reads.answered(100).await;
    plain.answered(100).await;

    // An instance that is killed is started again, although nothing of it can be written.
    let killed = shop.kill("plain").await;
    shop.until("plain is back", |shown| {
        let ready = |view: &&InstanceView| view.unit == "plain" && view.state == State::Ready;
        shown.iter().filter(ready).any(|view| view.pid.is_some_and(|pid| !killed.contains(&pid)))
    })
    .await;
    reads.answered(100).await;
    plain.answered(100).await;

    // A write is acknowledged or refused, and never lost.
    for n in 0..20 {
        let answer = shop.post("/users", json!({"name": format!("{n} {}", "x".repeat(80))})).await;
        match answer.status {
            StatusCode::CREATED => kept.push(answer.json()["id"].clone()),
            status => assert!(status.is_server_error(), "{status} {}", answer.text()),
        }
    }

    disk.make_room();
    shop.until_printed("recovered").await;
    let after = shop.post("/users", json!({"name": "after"})).await;
    assert_eq!(after.status, StatusCode::CREATED, "{}", after.text());
    kept.push(after.json()["id"].clone());
    for id in &kept {
        let user = shop.get(&format!("/users/{id}")).await;
        assert_eq!(user.status, StatusCode::OK, "{id}: {}", user.text());
    }
    for report in [reads.stop().await, plain.stop().await] {
        assert!(report.failed.is_empty(), "{report:#?}");
    }

    // The log goes on.
    assert_eq!(shop.get("/plain/once-there-is-room").await.status, StatusCode::OK);
    let logs = shop.run(&["logs", "-n", "100", "plain", "--format", "json"]).await;
    let lines: Vec<_> =
        logs.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().line).collect();
    assert!(lines.iter().any(|line| line == "GET /plain/once-there-is-room"), "{lines:?}");

    // And who runs was recorded, as soon as it could be: the next node takes all of them over.
    let before = running(&shop).await;
    shop.kill_node().await;
    shop.up(Placement::Processes).await;
    assert_eq!(running(&shop).await, before, "{}", shop.output());
    shop.down().await;
    assert_eq!(shop.processes(), []);
}

/// Who runs: each instance with its process.
async fn running(system: &TestSystem) -> Vec<(String, Option<u32>)> {
    system.ps().await.into_iter().map(|view| (view.name, view.pid)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_the_background_says_what_it_cannot_do() {
    let shop = shop_with_plain();
    let disk = SmallDisk::mount(shop.path());
    disk.fill();
    let up = shop.madang(&["up", "-d"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&up.stderr).into_owned();
    assert_eq!(up.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(shop.processes(), []);

    disk.make_room();
    let up = shop.madang(&["up", "-d"]).output().await.unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let down = shop.madang(&["down"]).output().await.unwrap();
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
}
