//! The gateway that is measured: one worker, and the service `bytes` among two dozen routes.

use std::{collections::BTreeMap, error::Error, fs, net::SocketAddr, num::NonZeroUsize};

use madang_calls::Directory;
use madang_gateway::{Config, Gateway, Handle, Identity, Snapshot, Tls};
use madang_model::{InstanceId, Protocol, ServiceName, System, manifest};
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};

/// What tokens have in `iss`, where whoever asks is asked who they are.
pub const ISSUER: &str = "https://id.example";

/// Starts it; it ends when the first two are dropped.
pub async fn start(
    system: &System,
    upstream: SocketAddr,
    identity: &Identity,
    tls: Option<Tls>,
) -> Result<(Gateway, Handle, Directory), Box<dyn Error>> {
    let service: ServiceName = "bytes".parse()?;
    let directory = Directory::default();
    let mut snapshot = Snapshot::compile(system, &directory, &[], &|_, _| Vec::new(), identity)?;
    if let Some(tls) = tls {
        snapshot = snapshot.over_tls(system, tls);
    }
    let config = Config { workers: NonZeroUsize::new(1), ..Config::default() };
    let (gateway, handle) = Gateway::start(config, snapshot).await?;
    let instance = Endpoint {
        instance: InstanceId("bytes-1".into()),
        address: upstream,
        protocol: Protocol::Http,
        release: None,
    };
    let bytes = ServiceEndpoints { instances: vec![instance], ..ServiceEndpoints::default() };
    let services = BTreeMap::from([(service, bytes)]);
    directory.apply(&Endpoints { version: 1, services, ..Endpoints::default() });
    Ok((gateway, handle, directory))
}

/// One service among two dozen routes; with what is said of the edge, and whether it asks for whom requests are made.
pub fn system(
    listen: SocketAddr,
    policy: &str,
    (edge, asks): (Option<&str>, bool),
) -> Result<System, Box<dyn Error>> {
    let mut routes: Vec<String> = (0..24).map(|n| format!("/area-{n}/items/{{id}}")).collect();
    routes.insert(12, "/bytes/{n}".into());
    let routes = routes.iter().map(|path| format!("{{ path = \"{path}\", methods = [\"GET\"] }}"));
    let edge = edge.map_or(String::new(), |edge| format!("gateway.edge = {edge}\n"));
    let asks = if asks {
        format!(
            "[[gateway.auth.issuers]]
issuer = \"{ISSUER}\"
jwks = \"{ISSUER}/keys\"
audience = \"bench\"
"
        )
    } else {
        String::new()
    };
    let text = format!(
        "system.name = \"bench\"
gateway.listen = \"{listen}\"
{edge}{asks}
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
