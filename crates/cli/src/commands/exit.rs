//! The end of another process, as the kernel tells of it (pidfd_open(2)).

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::time::{Instant, timeout_at};

/// A process that will end.
pub struct Exit(Option<OwnedFd>);

/// How long a thread waits at most before it looks whether anybody still waits for it.
const SLICE: Duration = Duration::from_secs(1);

impl Exit {
    /// Of the process with this id, which may be gone already.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(Self(None)) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self(Some(pidfd))),
            Err(Errno::SRCH) => Ok(Self(None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end; false if it has not come at the deadline.
    pub async fn wait(self, deadline: Instant) -> io::Result<bool> {
        let Some(mut pidfd) = self.0 else { return Ok(true) };
        let waiting = async {
            loop {
                let slice = tokio::task::spawn_blocking(move || ended(&pidfd).map(|ended| (ended, pidfd)));
                let (ended, again) = slice.await.map_err(io::Error::other)??;
                if ended {
                    return Ok(());
                }
                pidfd = again;
            }
        };
        timeout_at(deadline, waiting).await.map_or(Ok(false), |ended| ended.map(|()| true))
    }
}

fn ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let slice = Timespec { tv_sec: SLICE.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&slice)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(30)
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(!Exit::of(child.id()).unwrap().wait(soon()).await.unwrap());
        let exit = Exit::of(child.id()).unwrap();
        drop(child.stdin.take());
        assert!(exit.wait(Instant::now() + Duration::from_secs(5)).await.unwrap());
        let pid = child.id();
        child.wait().unwrap();
        assert!(Exit::of(pid).unwrap().wait(soon()).await.unwrap(), "gone already");
    }
}
