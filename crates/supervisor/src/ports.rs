//! Which port an instance is told, and who sits on one that a program insists on.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::net::TcpSocket;

use crate::{family::Family, proc};

/// Gives out ports, each to one instance at a time. Cloning gives the same.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    claimed: Arc<Mutex<BTreeSet<u16>>>,
}

/// A port that is one instance's until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) port: u16,
    claimed: Arc<Mutex<BTreeSet<u16>>>,
}

// === impl Ports ===

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range: outside(range, proc::ephemeral_ports()), claimed: Arc::default() }
    }

    /// A port that nobody listens on and that is none of `reserved`. The search begins at `start`, a random
    /// number, so that a port is not soon used again.
    pub(crate) fn claim(&self, start: u32, reserved: &BTreeSet<u16>) -> Option<Claim> {
        let (first, size) = (*self.range.start(), self.range.len());
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let port = (0..size)
            .map(|step| first + ((start as usize + step) % size) as u16)
            .find(|port| !claimed.contains(port) && !reserved.contains(port) && is_free(*port))?;
        claimed.insert(port);
        Some(Claim { port, claimed: self.claimed.clone() })
    }

    /// The port of an instance that has it already.
    pub(crate) fn claim_again(&self, port: u16) -> Claim {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        Claim { port, claimed: self.claimed.clone() }
    }
}

/// The part of the range below the ephemeral ports; the whole of it where that leaves nothing.
fn outside(range: RangeInclusive<u16>, ephemeral: Option<(u16, u16)>) -> RangeInclusive<u16> {
    match ephemeral {
        Some((lowest, highest)) if lowest <= *range.end() && *range.start() <= highest => {
            if lowest > *range.start() {
                *range.start()..=lowest - 1
            } else if highest < *range.end() {
                highest + 1..=*range.end()
            } else {
                range
            }
        }
        _ => range,
    }
}

/// Whether a socket could be bound to it on every address. It never listens, so nobody can connect to it.
fn is_free(port: u16) -> bool {
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    };
    bind().is_ok()
}

/// Says who listens on a port; `None` if nobody does. Reads much of `/proc` where somebody does.
pub(crate) fn taken_by(port: u16, known: &dyn Fn(i32) -> Option<String>) -> Option<String> {
    let inodes = proc::listeners(port);
    let inode = inodes.first()?;
    let who = match proc::holder_of(*inode) {
        Some(pid) => {
            let known = known(pid).map(|known| format!(", {known}")).unwrap_or_default();
            format!("{} (pid {pid}){known}", proc::command_line(pid))
        }
        None => "a process of another user".to_owned(),
    };
    Some(format!("port {port} is taken by {who}"))
}

/// Who listens on a port, as far as it can be seen: the process and its command line. Reads much of `/proc`.
pub fn holder(port: u16) -> Option<(i32, String)> {
    let pid = proc::listeners(port).into_iter().find_map(proc::holder_of)?;
    Some((pid, proc::command_line(pid)))
}

/// Says who listens on a port in the place of a family: somebody who was there before its first process, or an
/// instance of another. `None` if the family does, if a process that came after it listens for it (as one does for a
/// container), or if that cannot be seen.
pub(crate) fn intruder(port: u16, family: &Family) -> Option<String> {
    let inodes = proc::listeners(port);
    if family.find().iter().any(|member| proc::holds(member.pid, &inodes)) {
        return None;
    }
    let holder = inodes.iter().find_map(|inode| proc::holder_of(*inode))?;
    let earlier = proc::stat(holder)?.started < family.leader?.started;
    let of_another = || proc::environment(holder).iter().any(|(name, _)| name == "MADANG_INSTANCE");
    (earlier || of_another())
        .then(|| format!("port {port} is taken by {} (pid {holder})", proc::command_line(holder)))
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Identity;

    #[tokio::test]
    async fn a_port_is_given_to_one_at_a_time_and_not_when_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap().port();
        let ports = Ports { range: taken..=taken + 2, claimed: Arc::default() };
        let reserved = [taken + 1].into();
        let claim = ports.claim(7, &reserved).unwrap();
        assert_eq!(claim.port, taken + 2);
        assert!(ports.claim(7, &reserved).is_none());
        drop(claim);
        assert!(ports.claim(7, &reserved).is_some());
    }

    #[test]
    fn ports_are_outside_the_ephemeral_range() {
        for (ephemeral, expected) in [
            (Some((32768, 60999)), 20000..=29999),
            (Some((25000, 60999)), 20000..=24999),
            (Some((1024, 21000)), 21001..=29999),
            (Some((1024, 65535)), 20000..=29999),
            (None, 20000..=29999),
        ] {
            assert_eq!(outside(20000..=29999, ephemeral), expected, "{ephemeral:?}");
        }
    }

    #[tokio::test]
    async fn who_listens_in_the_place_of_an_instance_is_named_and_the_instance_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut command = std::process::Command::new("sleep");
        command.arg("60");
        let process = crate::process::Process::spawn(command).unwrap();
        let me = std::process::id().cast_signed();
        let text = intruder(port, &Family::of_group(process.identity())).unwrap();
        assert!(text.contains(&format!("(pid {me})")), "{text}");
        // One that came later may listen for it.
        let started = proc::stat(me).unwrap().started;
        let older = Identity { started, ..process.identity() };
        assert_eq!(intruder(port, &Family::of_group(older)), None);
        drop(listener);
        assert_eq!(intruder(port, &Family::of_group(process.identity())), None);
        process.reap();
    }

    #[test]
    fn says_who_sits_on_a_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = taken_by(port, &|pid| Some(format!("the test {pid}"))).unwrap();
        let me = std::process::id();
        assert!(text.ends_with(&format!("(pid {me}), the test {me}")), "{text}");
        assert_eq!(holder(port).unwrap().0, me.cast_signed());
        // Not the same port once more: what another test starts has a copy of the listener until it is that program.
        assert_eq!(taken_by(1, &|_| None), None);
    }
}
