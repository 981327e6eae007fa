//! Who speaks to the admin API, as far as the way there tells: what is audited, and said of faults.

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::net::UnixListener;

use crate::admin::Bounded;

/// Who speaks, in words.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) String);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(peer) => {
                let process = peer.pid().map_or(String::new(), |pid| format!(", process {pid}"));
                Self(format!("user {}{process}", peer.uid()))
            }
            Err(_) => Self("somebody".to_owned()),
        }
    }
}

/// Over TCP only the address is known at first. What the guard finds out beyond that takes its place.
impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(stream.remote_addr().to_string())
    }
}
