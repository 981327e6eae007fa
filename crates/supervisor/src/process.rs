//! One process that we started: the leader of a group of its own, watched through a descriptor.

use std::{
    collections::BTreeSet,
    fmt, io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use tokio::io::unix::AsyncFd;

use crate::proc;

/// The processes that we started and did not reap. Being a parent is a matter of the whole process, and so
/// is knowing one's children from the orphans that one adopted.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A process that we started. Dropping it kills its group; [`Process::reap`] ends it in peace.
pub(crate) struct Process {
    pid: Pid,
    exit: AsyncFd<OwnedFd>,
    /// When it started, in clock ticks since boot.
    pub(crate) started: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
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
        Ok(Self { pid, exit, started })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until it has exited. It stays a zombie, so that its pid and its group's are still its own.
    pub(crate) async fn exited(&self) -> Exit {
        loop {
            let readable = self.exit.readable().await;
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
        kill_and_reap(self.pid);
    }
}

/// Kills what is left of the group of an unreaped child, and reaps it.
fn kill_and_reap(pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
    // A killed process is gone within moments; one that has exited, at once.
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    ours().remove(&pid.as_raw_nonzero().get());
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
            Self::Signal(signal) => write!(f, "was ended by {} ({signal})", name(*signal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

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
        let group = process.pid();
        drop(process);
        // The leader is reaped; the others die a moment after the signal.
        let gone = async {
            while proc::all().any(|other| other.group == group && !other.zombie) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }
}
