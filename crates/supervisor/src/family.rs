//! Everything that an instance started, to the last grandchild: found by its process group, by the mark that
//! it left in their environment, and by who is whose parent.

use std::{collections::BTreeSet, future::Future, io, os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::{
    io::unix::AsyncFd,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use crate::{proc, process};

/// How long a killed process may take to be gone before it is looked for again.
const DYING: Duration = Duration::from_secs(1);

/// How often whoever is left is killed again. More rounds are only needed while they start new processes.
const ROUNDS: usize = 20;

/// The processes of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// `MADANG_INSTANCE=…`, which each of them inherited, wherever it went.
    pub(crate) mark: String,
    /// The process group of the first of them, while that number is surely theirs.
    pub(crate) group: Option<i32>,
}

struct Member {
    pid: i32,
    handle: AsyncFd<OwnedFd>,
}

/// The mark of an instance.
pub(crate) fn mark(instance: &madang_model::InstanceId) -> String {
    format!("MADANG_INSTANCE={instance}")
}

// === impl Family ===

impl Family {
    /// Asks everybody to stop, waits until they have, for `drain` at most or until `hurry` resolves, and kills
    /// whoever is left. Gives whether somebody had to be killed.
    pub(crate) async fn stop(&self, drain: Duration, hurry: impl Future<Output = ()>) -> bool {
        let deadline = Instant::now() + drain;
        let mut asked = BTreeSet::new();
        let all_gone = async {
            loop {
                let members = self.members().await;
                if members.is_empty() {
                    return;
                }
                for member in members.iter().filter(|member| asked.insert(member.pid)) {
                    member.signal(Signal::TERM);
                }
                gone(&members).await;
            }
        };
        tokio::select! {
            () = all_gone => false,
            () = sleep_until(deadline) => self.kill().await,
            () = hurry => self.kill().await,
        }
    }

    /// Kills everybody, and whom they started meanwhile. Gives whether there was somebody.
    pub(crate) async fn kill(&self) -> bool {
        for round in 0..ROUNDS {
            let members = self.members().await;
            if members.is_empty() {
                return round > 0;
            }
            for member in &members {
                member.signal(Signal::KILL);
            }
            // One that waits for a broken disk does not die; it is left behind, and said so.
            let _ = timeout(DYING, gone(&members)).await;
        }
        warn!(mark = self.mark, "processes of an instance could not be killed");
        true
    }

    /// Whether anybody is alive.
    pub(crate) async fn is_alive(&self) -> bool {
        !self.members().await.is_empty()
    }

    /// Whoever is alive.
    async fn members(&self) -> Vec<Member> {
        let family = self.clone();
        let found = spawn_blocking(move || family.find()).await.unwrap_or_default();
        found.into_iter().filter_map(|stat| Member::of(stat).ok().flatten()).collect()
    }

    fn find(&self) -> Vec<proc::Stat> {
        let me = std::process::id().cast_signed();
        let all: Vec<proc::Stat> = proc::all().filter(|one| !one.zombie && one.pid != me).collect();
        let belongs =
            |one: &&proc::Stat| Some(one.group) == self.group || proc::has_variable(one.pid, &self.mark);
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
        member.gone().await;
    }
}

// === impl Member ===

impl Member {
    /// Takes hold of a process; `None` if it is gone already.
    fn of(stat: proc::Stat) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(stat.pid) else { return Ok(None) };
        let handle = process::exit_of(pid)?;
        // Since it was read the pid may have become another's.
        let same = proc::stat(stat.pid).is_some_and(|now| now.started == stat.started && !now.zombie);
        Ok(same.then_some(Self { pid: stat.pid, handle }))
    }

    fn signal(&self, signal: Signal) {
        // It may be gone by now, which is what was wanted.
        let _ = pidfd_send_signal(self.handle.get_ref(), signal);
    }

    /// Waits until it has exited, and reaps it if it was an orphan that we adopted.
    async fn gone(&self) {
        let _ = self.handle.readable().await;
        if !process::ours().contains(&self.pid) {
            reap(self.pid);
        }
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

/// Makes this process the parent of every orphan below it, rather than the machine's first process.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}
