//! Who has a port that somebody here wants, and what to do about it.

use std::{io, net::SocketAddr};

use madang_supervisor::holder;

use crate::owner::Incumbent;

/// Who a process is, if it is a node or something that one started.
pub(crate) fn known(pid: i32) -> Option<String> {
    Incumbent::around_process(pid).map(|incumbent| match incumbent.is(pid) {
        true => node(&incumbent),
        false => instance(&incumbent),
    })
}

fn node(incumbent: &Incumbent) -> String {
    let Incumbent { system, root, pid, .. } = incumbent;
    format!("the system {system} in {root} (pid {pid}), which `madang down {}` stops", incumbent.options())
}

fn instance(Incumbent { system, root, .. }: &Incumbent) -> String {
    format!("an instance of the system {system} in {root}")
}

/// A port that the gateway cannot have, with who has it, if that is what an error is about.
pub(crate) fn taken(error: &madang_gateway::Error) -> Option<String> {
    let madang_gateway::Error::Listen { address, source } = error else { return None };
    taken_at(*address, source)
}

/// A port that cannot be listened on, with who has it, if that is why.
pub(crate) fn taken_at(address: SocketAddr, error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::AddrInUse).then(|| in_words(address))
}

/// Who has an address, and what to do about it.
pub(crate) fn in_words(address: SocketAddr) -> String {
    let port = address.port();
    let who = match holder(port) {
        None => "somebody whom this user cannot see".to_owned(),
        Some((pid, command)) => match Incumbent::around_process(pid) {
            Some(incumbent) if incumbent.is(pid) => node(&incumbent),
            Some(incumbent) => format!("{command} (pid {pid}), {}", instance(&incumbent)),
            None => format!("{command} (pid {pid})"),
        },
    };
    format!(
        "port {port} is taken by {who}: stop that, choose another port in the manifest, or run this system with \
         --isolated on ports of its own"
    )
}
