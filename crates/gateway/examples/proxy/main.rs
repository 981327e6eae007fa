//! A gateway before one service, as one process: what `cargo xtask bench gateway` measures.
//!
//! `proxy LISTEN UPSTREAM [POLICY]` routes `/bytes/{n}` among two dozen other routes, on one worker, with everything on
//! that a node has on: counters, request records, trace context; records are taken as a node takes them. POLICY is what
//! a manifest says of calls: the value of `policy`.

mod gateway;

use std::{error::Error, net::SocketAddr, time::Duration};

use mimalloc::MiMalloc;
use tracing::subscriber::NoSubscriber;

/// As in a node.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // As in a node, somebody listens to what libraries say, and wants none of it.
    tracing::subscriber::set_global_default(NoSubscriber::new())?;
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: proxy LISTEN UPSTREAM [POLICY]".into());
    };
    let (listen, upstream): (SocketAddr, SocketAddr) = (listen.parse()?, upstream.parse()?);
    let policy = arguments.next().unwrap_or_else(|| "{}".into());
    let (_gateway, handle, _directory) = gateway::start(listen, upstream, &policy).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        drop(handle.records());
    }
}
