//! A gateway before one service, as one process: what `cargo xtask bench gateway` measures.
//!
//! `proxy LISTEN UPSTREAM [POLICY [EDGE [FILE]]]` routes `/bytes/{n}` among two dozen other routes, on one worker, with everything on
//! that a node has on: counters, request records, trace context; records are taken as a node takes them. POLICY is what
//! a manifest says of calls: the value of `policy`. EDGE is what it says of the edge. With FILE it also asks for whom requests
//! are made, and writes a token that is good to it. `proxy --tls CERTIFICATE KEY LISTEN …` speaks TLS with what these files have.
//! `proxy --signatures` says what making and verifying one takes.

mod gateway;
mod issuer;

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use madang_gateway::{Certificate, Credentials, Identity, Tls};
use madang_model::TlsVersion;
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
    if std::env::args().nth(1).as_deref() == Some("--signatures") {
        let (made, verified) = issuer::signatures();
        println!("a signature of Ed25519 is made in {made:?} and verified in {verified:?}");
        return Ok(());
    }
    let mut spoken = None;
    if std::env::args().nth(1).as_deref() == Some("--tls") {
        let files = arguments.by_ref().skip(1).take(2).map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
        spoken = Some(tls(&files)?);
    }
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: proxy [--tls CERTIFICATE KEY] LISTEN UPSTREAM [POLICY [EDGE [FILE]]]".into());
    };
    let (listen, upstream): (SocketAddr, SocketAddr) = (listen.parse()?, upstream.parse()?);
    let policy = arguments.next().unwrap_or_else(|| "{}".into());
    let (edge, file) = (arguments.next(), arguments.next());
    let identity = Identity::new(&[1; 32]);
    tokio::spawn(identity.clone().run(Arc::new(issuer::Source)));
    let system = gateway::system(listen, &policy, (edge.as_deref(), file.is_some()))?;
    let (_gateway, handle, _directory) = gateway::start(&system, upstream, &identity, spoken).await?;
    if let Some(file) = file {
        std::fs::write(file, issuer::token())?;
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        drop(handle.records());
    }
}

/// What speaks TLS with a certificate and its key, both in PEM.
fn tls(files: &[Vec<u8>]) -> Result<Tls, Box<dyn Error>> {
    let [chain, key] = files else { return Err("a certificate and its key".into()) };
    let certificates = vec![Certificate::read(chain, key)?];
    Ok(Tls::new(Credentials { certificates, min_version: TlsVersion::V1_2, clients: None, acme: false })?)
}
