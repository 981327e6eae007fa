//! Everything that an instance started, to the last grandchild: found by its process group, by the mark that
//! it left in their environment, by the log that they write to, and by who is whose parent. Who hides all of that is
//! an orphan that this process adopted, and ends with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use madang_model::InstanceId;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::{
    io::unix::AsyncFd,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use crate::{proc, process, store::Identity};

/// How long a killed process may take to be gone before it is looked for again.
const DYING: Duration = Duration::from_secs(1);

/// How often whoever is left is killed again. More rounds are only needed while they start new processes.
const ROUNDS: usize = 20;

/// The processes of one instance, or of one build.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// `MADANG_INSTANCE=…`, which each of them inherited, wherever it went.
    pub(crate) mark: Option<String>,
    /// The first of them, whose number is that of their process group.
    pub(crate) leader: Option<Identity>,
    /// The file that only they write to.
    log: Option<PathBuf>,
}

/// The adopted orphans that a build left, which stay.
static OF_BUILDS: Mutex<BTreeSet<(i32, u64)>> = Mutex::new(BTreeSet::new());

struct Member {
    stat: proc::Stat,
    handle: AsyncFd<OwnedFd>,
}

// === impl Family ===

impl Family {
    /// That of an instance, and of the group of its first process if that is known.
    pub(crate) fn of(instance: &InstanceId, leader: Option<Identity>) -> Self {
        Self { mark: Some(format!("MADANG_INSTANCE={instance}")), leader, log: None }
    }

    /// The same with whoever writes to this log, which is theirs alone.
    pub(crate) fn writing_to(self, log: &Path) -> Self {
        Self { log: Some(log.to_owned()), ..self }
    }

    /// The group of this process and nobody else: who left it, did so to stay.
    pub(crate) fn of_group(leader: Identity) -> Self {
        Self { mark: None, leader: Some(leader), log: None }
    }

    /// The number of the group, unless it became another's: the leader of one is gone before its number is given
    /// again, but not before whoever is left of its group.
    fn group(&self) -> Option<i32> {
        let leader = self.leader?;
        let same = |now: proc::Stat| now.started == leader.started;
        proc::stat(leader.pid).is_none_or(same).then_some(leader.pid)
    }

    /// Asks everybody to stop, waits until they have, for `drain` at most or until `hurry` resolves, and kills
    /// whoever is left. Gives whether somebody had to be killed.
    pub(crate) async fn stop(&self, drain: Duration, hurry: impl Future<Output = ()>) -> bool {
        let deadline = Instant::now() + drain;
        let mut asked = BTreeMap::new();
        let all_gone = async {
            loop {
                let members = self.members().await;
                if members.is_empty() {
                    return;
                }
                for member in &members {
                    if asked.insert(member.stat.pid, member.stat).is_none() {
                        member.signal(Signal::TERM);
                    }
                }
                gone(&members).await;
            }
        };
        let killed = tokio::select! {
            () = all_gone => false,
            () = sleep_until(deadline) => self.kill().await,
            () = hurry => self.kill().await,
        };
        self.reap(asked.into_values());
        killed
    }

    /// Kills everybody, and whom they started meanwhile. Gives whether there was somebody.
    pub(crate) async fn kill(&self) -> bool {
        let mut killed = BTreeMap::new();
        for _ in 0..ROUNDS {
            let members = self.members().await;
            if members.is_empty() {
                break;
            }
            for member in &members {
                killed.insert(member.stat.pid, member.stat);
                member.signal(Signal::KILL);
            }
            // One that waits for a broken disk does not die; it is left behind, and said so.
            if timeout(DYING, gone(&members)).await.is_err() {
                warn!(family = ?self, "a killed process is not gone yet");
            }
        }
        let somebody = !killed.is_empty();
        self.reap(killed.into_values());
        somebody
    }

    /// Reaps those of the family that became our children when their parents died. To be called once all are
    /// dead, as only then all of them are ours; and before the leader of the group is reaped.
    fn reap(&self, known: impl Iterator<Item = proc::Stat>) {
        let me = std::process::id().cast_signed();
        let ours = process::ours();
        let group = self.group();
        let of_group = proc::all().filter(|one| Some(one.group) == group);
        for stat in known.chain(of_group).filter(|stat| !ours.contains(&stat.pid)) {
            let same = |now: &proc::Stat| now.started == stat.started && now.zombie && now.parent == me;
            if proc::stat(stat.pid).as_ref().is_some_and(same) {
                reap(stat.pid);
            }
        }
    }

    /// Whoever is alive.
    async fn members(&self) -> Vec<Member> {
        let family = self.clone();
        let found = spawn_blocking(move || family.find()).await.unwrap_or_default();
        found.into_iter().filter_map(Member::of).collect()
    }

    /// Whoever is alive, as it was read. Reads much of `/proc`.
    pub(crate) fn find(&self) -> Vec<proc::Stat> {
        let (me, group) = (std::process::id().cast_signed(), self.group());
        let all: Vec<proc::Stat> = proc::all().filter(|one| !one.zombie && one.pid != me).collect();
        let is_marked = |pid| self.mark.as_ref().is_some_and(|mark| proc::has_variable(pid, mark));
        let writes = |pid| self.log.as_ref().is_some_and(|log| proc::writes_to(pid, log));
        let belongs = |one: &&proc::Stat| Some(one.group) == group || is_marked(one.pid) || writes(one.pid);
        let mut found: BTreeSet<i32> = all.iter().filter(belongs).map(|one| one.pid).collect();
        loop {
            let child = |one: &&proc::Stat| found.contains(&one.parent) && !found.contains(&one.pid);
            let children: Vec<i32> = all.iter().filter(child).map(|one| one.pid).collect();
            if children.is_empty() {
                return all.into_iter().filter(|one| found.contains(&one.pid)).collect();
            }
            found.extend(children);
        }
    }
}

async fn gone(members: &[Member]) {
    for member in members {
        // It can only fail to be readable with the runtime.
        let _ = member.handle.readable().await;
    }
}

// === impl Member ===

impl Member {
    /// Takes hold of a process; `None` if it is gone already.
    fn of(stat: proc::Stat) -> Option<Self> {
        let handle = match process::exit_of(Pid::from_raw(stat.pid)?) {
            Ok(handle) => handle,
            Err(error) => {
                if error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) {
                    warn!(pid = stat.pid, %error, "failed to take hold of a process");
                }
                return None;
            }
        };
        // Since it was read the pid may have become another's.
        let same = proc::stat(stat.pid).is_some_and(|now| now.started == stat.started && !now.zombie);
        same.then_some(Self { stat, handle })
    }

    fn signal(&self, signal: Signal) {
        // It may be gone by now, which is what was wanted.
        let _ = pidfd_send_signal(self.handle.get_ref(), signal);
    }
}

/// Reaps a child that has exited; does nothing if it has not, or is no child.
fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Reaps the adopted orphans that have exited: those of our children that we did not start ourselves and that
/// are in no session or group of ours, so that nobody else here waits for them.
pub(crate) fn reap_orphans() {
    let ours = process::ours();
    let me = std::process::id().cast_signed();
    let Some(own) = proc::stat(me) else { return };
    let adopted = |one: &proc::Stat| {
        one.zombie
            && one.parent == me
            && !ours.contains(&one.pid)
            && (one.session != own.session || ours.contains(&one.group))
    };
    for orphan in proc::all().filter(adopted) {
        reap(orphan.pid);
    }
}

/// The living orphans that this process adopted: its children that it did not start, in sessions of their own, that are
/// younger than it. Whoever started this process may have left it children too.
fn orphans() -> Vec<proc::Stat> {
    let ours = process::ours();
    let me = std::process::id().cast_signed();
    let Some(own) = proc::stat(me) else { return Vec::new() };
    let adopted = |one: &proc::Stat| {
        let younger = one.started >= own.started && one.session != own.session;
        one.parent == me && !one.zombie && younger && !ours.contains(&one.pid)
    };
    proc::all().filter(adopted).collect()
}

/// Runs a build. What it leaves running is a daemon that is to outlive it, and this process.
pub(crate) async fn sparing_orphans<T>(build: impl Future<Output = T>) -> T {
    let before: BTreeSet<i32> = orphans().into_iter().map(|one| one.pid).collect();
    let built = build.await;
    let left = orphans().into_iter().filter(|one| !before.contains(&one.pid));
    let mut of_builds = OF_BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    // Those that are gone need no place.
    of_builds.retain(|(pid, started)| proc::stat(*pid).is_some_and(|now| now.started == *started));
    of_builds.extend(left.map(|one| (one.pid, one.started)));
    built
}

/// Ends the orphans that are left once every unit has stopped: each was started by one, and hid from it.
pub(crate) async fn end_orphans(drain: Duration, hurry: impl Future<Output = ()>) {
    let found = || {
        let of_builds = OF_BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever carries the mark of an instance does not hide, and is ended with that.
        let marked = |pid| proc::environment(pid).iter().any(|(name, _)| name == "MADANG_INSTANCE");
        let spared = |one: &proc::Stat| of_builds.contains(&(one.pid, one.started)) || marked(one.pid);
        orphans().into_iter().filter(|one| !spared(one)).collect::<Vec<_>>()
    };
    let left = found();
    if left.is_empty() {
        return;
    }
    warn!(orphans = left.len(), "processes are left that hid from their units: they are ended");
    let members: Vec<Member> = left.iter().copied().filter_map(Member::of).collect();
    members.iter().for_each(|member| member.signal(Signal::TERM));
    tokio::select! {
        () = gone(&members) => {}
        () = tokio::time::sleep(drain) => {}
        () = hurry => {}
    }
    for _ in 0..ROUNDS {
        let members: Vec<Member> = found().into_iter().filter_map(Member::of).collect();
        if members.is_empty() {
            break;
        }
        members.iter().for_each(|member| member.signal(Signal::KILL));
        let _ = timeout(DYING, gone(&members)).await;
    }
    reap_orphans();
}

/// Makes this process the parent of every orphan below it, rather than the machine's first process.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}
