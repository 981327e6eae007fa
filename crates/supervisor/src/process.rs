//! One process that we started, or that a node before us did: the leader of a group of its own, watched through a
//! descriptor.

use std::{
    collections::BTreeSet,
    fmt, io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal,
        waitid,
    },
};
use tokio::{io::unix::AsyncFd, runtime::Handle, time::sleep};

use crate::{proc, store::Identity};

/// How soon the rest of a killed group is looked at again after its leader is dead, and how seldom in the end.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long a killed process may hold up the thread that drops it as the runtime ends.
const LAST_MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The processes that we started and did not reap. Being a parent is a matter of the whole process, and so
/// is knowing one's children from the orphans that one adopted.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A process that we run. Dropping it kills its group; [`Process::reap`] ends it in peace.
pub(crate) struct Process {
    pid: Pid,
    exit: AsyncFd<OwnedFd>,
    /// When it started, in clock ticks since boot.
    started: u64,
    /// We started it, and so are told how it ends.
    child: bool,
}

/// A process that a node before us started, unmistakably the one that it recorded. Dropping it does nothing.
pub(crate) struct Held {
    pid: Pid,
    exit: AsyncFd<OwnedFd>,
    identity: Identity,
}

/// A group that was killed, until its leader is reaped.
struct Dying {
    leader: Pid,
    reaped: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// It was no child of ours, and the kernel tells nobody else.
    Unknown,
}

/// The processes that were started by us and not reaped yet, while the guard is held.
pub(crate) fn ours() -> MutexGuard<'static, BTreeSet<i32>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes hold of a process; what is given is readable once it has exited.
pub(crate) fn exit_of(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let handle = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    #[expect(
        deprecated,
        reason = "the newer way is unsafe to call, for types that do not own what they hold"
    )]
    AsyncFd::new(handle)
}

// === impl Held ===

impl Held {
    /// Takes hold of a process; `None` if it is gone, or its number is another's by now. The descriptor comes first:
    /// whomever it is of when it is looked at, it is of for ever.
    pub(crate) fn take(identity: Identity) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(identity.pid) else { return Ok(None) };
        let exit = match exit_of(pid) {
            Ok(exit) => exit,
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let same = proc::stat(identity.pid).is_some_and(|now| now.started == identity.started && !now.zombie);
        Ok(same.then_some(Self { pid, exit, identity }))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}

// === impl Process ===

impl Process {
    /// Starts a command in a process group of its own, with nothing to read.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        // Held over the start, so that nobody takes the child for an orphan in between.
        let mut ours = ours();
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        ours.insert(pid.as_raw_nonzero().get());
        drop(ours);
        // It is not reaped before us, so that its pid is its own.
        let exit = exit_of(pid).inspect_err(|_| kill_and_reap(pid))?;
        let started = proc::stat(pid.as_raw_nonzero().get()).map_or(0, |stat| stat.started);
        Ok(Self { pid, exit, started, child: true })
    }

    /// Runs on what a node before us started.
    pub(crate) fn adopt(held: Held) -> Self {
        let Held { pid, exit, identity } = held;
        Self { pid, exit, started: identity.started, child: false }
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> Identity {
        Identity { pid: self.pid.as_raw_nonzero().get(), started: self.started }
    }

    /// Waits until it has exited. It stays a zombie, so that its pid and its group's are still its own.
    pub(crate) async fn exited(&self) -> Exit {
        loop {
            let readable = self.exit.readable().await;
            if !self.child {
                return Exit::Unknown;
            }
            let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            match waitid(WaitId::Pid(self.pid), peek) {
                Ok(Some(status)) => {
                    return match status.terminating_signal() {
                        Some(signal) => Exit::Signal(signal),
                        None => Exit::Code(status.exit_status().unwrap_or(0)),
                    };
                }
                Ok(None) => {
                    if let Ok(mut ready) = readable {
                        ready.clear_ready();
                    }
                }
                // Somebody else in this process reaped it, which nobody should.
                Err(_) => return Exit::Code(-1),
            }
        }
    }

    /// Lets the kernel forget it. To be called once it has exited; its pid may then be another's.
    pub(crate) fn reap(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child {
            return kill_and_reap(self.pid);
        }
        // Whoever its parent is reaps it. While it runs, the group of its number is its own.
        if pidfd_send_signal(self.exit.get_ref(), Signal::KILL).is_ok() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// Kills what is left of the group of an unreaped child, and has it reaped without waiting for it: a process
/// that waits for a broken disk does not die, and nobody shall wait with it.
fn kill_and_reap(pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
    let mut dying = Dying { leader: pid, reaped: false };
    if !dying.try_reap()
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn(dying.reaped());
    }
}

// === impl Dying ===

impl Dying {
    /// Reaps those of the group that have exited: the leader, and whom we adopted when it died. Gives whether
    /// nobody is left. While somebody is, the group's number is nobody else's.
    fn try_reap(&mut self) -> bool {
        // Held until the number is given up, so that it is not meanwhile taken by one that we start.
        let mut ours = ours();
        loop {
            match waitid(WaitId::Pgid(Some(self.leader)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => break,
            }
        }
        ours.remove(&self.leader.as_raw_nonzero().get());
        self.reaped = true;
        true
    }

    async fn reaped(mut self) {
        if let Ok(exit) = exit_of(self.leader) {
            let _ = exit.readable().await;
        }
        // Others of the group may die a moment after it, and the kernel has no descriptor for a group.
        let mut pause = FIRST_LOOK;
        while !self.try_reap() {
            sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }
}

impl Drop for Dying {
    /// The runtime ends, or there is none: there is a moment left for it, and then no more.
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if let Ok(exit) = pidfd_open(self.leader, PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&exit, PollFlags::IN)], Some(&LAST_MOMENT));
        }
        self.try_reap();
    }
}

// === impl Exit ===

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |signal| match signal {
            2 => "SIGINT",
            4 => "SIGILL",
            6 => "SIGABRT",
            7 => "SIGBUS",
            8 => "SIGFPE",
            9 => "SIGKILL",
            11 => "SIGSEGV",
            13 => "SIGPIPE",
            15 => "SIGTERM",
            _ => "signal",
        };
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Unknown => f.write_str("exited, how is not known: a node before this one had started it"),
            Self::Signal(signal) => write!(f, "was ended by {} ({signal})", name(*signal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::family;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[tokio::test]
    async fn an_exit_is_learned_at_once_with_how() {
        for (script, expected) in [("exit 3", Exit::Code(3)), ("kill -9 $$", Exit::Signal(9))] {
            let process = Process::spawn(sh(script)).unwrap();
            let exit = timeout(Duration::from_secs(5), process.exited()).await.unwrap();
            assert_eq!(exit, expected);
            process.reap();
        }
    }

    #[tokio::test]
    async fn an_exit_is_known_within_milliseconds() {
        let process = Process::spawn(sh("exec sleep 30")).unwrap();
        let killed = Instant::now();
        rustix::process::kill_process(process.pid, Signal::KILL).unwrap();
        process.exited().await;
        assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
    }

    #[tokio::test]
    async fn a_dropped_process_leaves_nobody_of_its_group() {
        let process = Process::spawn(sh("sleep 30 & sleep 30 & wait")).unwrap();
        let group = process.identity().pid;
        drop(process);
        // The leader is reaped; the others die a moment after the signal.
        let gone = async {
            while proc::all().any(|other| other.group == group && !other.zombie) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let held = async {
            while !holds() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(Duration::from_secs(5), held).await.is_ok(), "never: {what}");
    }

    #[tokio::test]
    async fn a_dropped_process_is_reaped_with_its_group_by_nobody_who_waits() {
        family::adopt_orphans().unwrap();
        let process = Process::spawn(sh("sleep 30 & sleep 30 & wait")).unwrap();
        let group = process.identity().pid;
        until("its children run", || proc::all().filter(|other| other.group == group).count() == 3).await;
        drop(process);
        until("they are reaped", || proc::all().all(|other| other.group != group)).await;
        assert!(!ours().contains(&group));
    }

    /// One that was not killed stands for one that does not die of it.
    #[tokio::test]
    async fn one_that_does_not_die_holds_up_nobody_for_long() {
        let process = Process::spawn(sh("exec sleep 30")).unwrap();
        let began = Instant::now();
        let waits = tokio::spawn(Dying { leader: process.pid, reaped: false }.reaped());
        sleep(Duration::from_millis(10)).await;
        assert!(!waits.is_finished());
        waits.abort();
        waits.await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(ours().contains(&process.identity().pid), "it is not reaped yet");
    }
}
