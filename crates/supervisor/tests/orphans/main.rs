//! Processes that hide from their unit. In a program of its own, one test at a time, because whoever runs units ends all
//! such orphans of its process.

#[allow(dead_code, reason = "what other tests need of it")]
#[path = "../units/harness.rs"]
mod harness;

use madang_wire::admin::EventKind;
use tokio::sync::Mutex;

use crate::harness::*;

static ALONE: Mutex<()> = Mutex::const_new(());

/// Where those who hide write down who they are. None of them outlives a test that failed.
struct Hidden(tempfile::TempDir);

impl Hidden {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    fn pid(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.0.path().join(name)).ok()?.trim().parse().ok()
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        for pid in ["one", "two", "build"].iter().filter_map(|name| self.pid(name)) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Twice forked, in a session of its own, without the mark in its environment.
const HIDES: &str = "(setsid env -i /bin/sh -c 'echo $$$$ > $0; exec sleep 60' \"$PIDS/one\" &) ; \
                     (setsid env -i /bin/sh -c 'echo $$$$ > $0; exec sleep 60' \"$PIDS/two\" >/dev/null 2>&1 &) ; \
                     exec sleep 60";

#[tokio::test]
async fn those_that_clear_their_environment_and_leave_for_good_end_with_their_unit_or_with_all() {
    let _alone = ALONE.lock().await;
    let hidden = Hidden::new();
    let mut hides = unit("hides", HIDES);
    hides.env.insert("PIDS".into(), hidden.path());
    let mut running = run([hides, unit("users", "sleep 60")]).await;
    running.ready().await;
    until("both hide", || hidden.pid("one").is_some() && hidden.pid("two").is_some()).await;
    let (writes, silent) = (hidden.pid("one").unwrap(), hidden.pid("two").unwrap());
    let runs = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(runs(writes) && runs(silent) && marked(&running.row("hides").name).len() == 1);

    // Its log gives away the one that writes to it.
    running.edit(|units| drop(units.remove(&"hides".parse::<madang_model::UnitName>().unwrap())));
    running.event("hides", EventKind::Stopped).await;
    assert!(!runs(writes));
    // Whose the other is nobody can tell: it ends once no unit is left.
    assert!(runs(silent));
    running.stop().await;
    assert!(!runs(silent));
}

/// What a build leaves running is a daemon for the next build.
#[tokio::test]
async fn a_daemon_of_a_build_stays() {
    let _alone = ALONE.lock().await;
    let hidden = Hidden::new();
    let mut users = unit("users", "sleep 60");
    let daemon = "(setsid env -i /bin/sh -c 'echo $$ > $0; exec sleep 60' PIDS/build >/dev/null 2>&1 &) ; \
                  while ! [ -s PIDS/build ]; do :; done";
    users.build = Some(daemon.replace("PIDS", &hidden.path()));
    let running = run([users]).await;
    running.ready().await;
    let pid = hidden.pid("build").unwrap();
    running.stop().await;
    assert!(std::fs::exists(format!("/proc/{pid}")).unwrap());
}
