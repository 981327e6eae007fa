//! A gateway before one service, as one process: what `cargo xtask bench gateway` measures.
//!
//! `proxy LISTEN UPSTREAM` routes `/bytes/{n}` among two dozen other routes, on one worker, with everything on
//! that a node has on: counters, request records, trace context; records are taken as a node takes them.

use std::{
    collections::BTreeMap, error::Error, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration,
};

use madang_calls::Directory;
use madang_gateway::{Config, Gateway, Snapshot};
use madang_model::{
    Gateway as FrontDoor, InstanceId, Limits, Place, Placement, Protocol, Route, Service, ServiceName,
    System, Target,
};
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
    let mut addresses = std::env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    let (Some(listen), Some(upstream)) = (addresses.next(), addresses.next()) else {
        return Err("usage: proxy LISTEN UPSTREAM".into());
    };
    let service: ServiceName = "bytes".parse()?;
    let directory = Directory::default();
    let snapshot = Snapshot::compile(&system(listen?, &service)?, &directory, &[], &|_, _| Vec::new())?;
    let config = Config { workers: NonZeroUsize::new(1), ..Config::default() };
    let (_gateway, handle) = Gateway::start(config, snapshot).await?;
    let instance =
        Endpoint { instance: InstanceId("bytes-1".into()), address: upstream?, protocol: Protocol::Http };
    let services = BTreeMap::from([(service, ServiceEndpoints { instances: vec![instance], policy: None })]);
    directory.apply(&Endpoints { version: 1, services });

    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        drop(handle.records());
    }
}

fn system(listen: SocketAddr, service: &ServiceName) -> Result<System, Box<dyn Error>> {
    let mut routes: Vec<Route> =
        (0..24).map(|n| route(&format!("/area-{n}/items/{{id}}"), &["GET", "POST"], service)).collect();
    routes.insert(12, route("/bytes/{n}", &["GET"], service));
    let described = Service {
        name: service.clone(),
        owner: None,
        placement: Placement::Unit(service.into()),
        listen: None,
        protocol: Protocol::Http,
        calls: BTreeMap::new(),
        database: None,
        policy: Limits::default(),
    };
    Ok(System {
        name: "bench".parse()?,
        root: PathBuf::from("/"),
        files: Vec::new(),
        gateway: FrontDoor { listen, policy: Limits::default() },
        policy: Limits::default(),
        services: BTreeMap::from([(service.clone(), described)]),
        units: BTreeMap::new(),
        routes,
    })
}

fn route(path: &str, methods: &[&str], service: &ServiceName) -> Route {
    Route {
        host: None,
        path: path.to_owned(),
        methods: methods.iter().map(|&m| m.to_owned()).collect(),
        headers: Vec::new(),
        to: vec![Target { service: service.clone(), weight: 1 }],
        policy: Limits::default(),
        place: Place { file: PathBuf::from("madang.toml"), line: 1 },
    }
}
