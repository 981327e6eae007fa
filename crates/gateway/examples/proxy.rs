//! A gateway before one service, as one process: what `cargo xtask bench gateway` measures.
//!
//! `proxy LISTEN UPSTREAM [POLICY]` routes `/bytes/{n}` among two dozen other routes, on one worker, with everything on
//! that a node has on: counters, request records, trace context; records are taken as a node takes them. POLICY is what
//! a manifest says of calls: the value of `policy`.

use std::{collections::BTreeMap, error::Error, fs, net::SocketAddr, num::NonZeroUsize, time::Duration};

use madang_calls::Directory;
use madang_gateway::{Config, Gateway, Snapshot};
use madang_model::{InstanceId, Protocol, ServiceName, System, manifest};
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};
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
    let upstream: SocketAddr = upstream.parse()?;
    let service: ServiceName = "bytes".parse()?;
    let directory = Directory::default();
    let system = system(listen.parse()?, &arguments.next().unwrap_or_else(|| "{}".into()))?;
    let snapshot = Snapshot::compile(&system, &directory, &[], &|_, _| Vec::new())?;
    let config = Config { workers: NonZeroUsize::new(1), ..Config::default() };
    let (_gateway, handle) = Gateway::start(config, snapshot).await?;
    let instance = Endpoint {
        instance: InstanceId("bytes-1".into()),
        address: upstream,
        protocol: Protocol::Http,
        release: None,
    };
    let bytes = ServiceEndpoints { instances: vec![instance], ..ServiceEndpoints::default() };
    let services = BTreeMap::from([(service, bytes)]);
    directory.apply(&Endpoints { version: 1, services, ..Endpoints::default() });

    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        drop(handle.records());
    }
}

fn system(listen: SocketAddr, policy: &str) -> Result<System, Box<dyn Error>> {
    let mut routes: Vec<String> = (0..24).map(|n| format!("/area-{n}/items/{{id}}")).collect();
    routes.insert(12, "/bytes/{n}".into());
    let routes = routes.iter().map(|path| format!("{{ path = \"{path}\", methods = [\"GET\"] }}"));
    let text = format!(
        "system.name = \"bench\"
gateway.listen = \"{listen}\"
[services.bytes]
run = false
policy = {policy}
routes = [{}]
",
        routes.collect::<Vec<_>>().join(", ")
    );
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("madang.toml"), text)?;
    Ok(manifest::load(folder.path(), &|_| None)?.system)
}
