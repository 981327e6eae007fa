//! What the tests are played on: services, a gateway before them, clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::{Body, Directory};
use madang_gateway::{Config, Door, Gateway, Handle, Identity, Listener, Snapshot, Tls};
use madang_model::{
    Gateway as FrontDoor, HeaderMatch, InstanceId, Limits, Place, Placement, Protocol, Route, Service,
    ServiceName, System, Target,
};
use madang_wire::{
    Problem,
    service::{Endpoint, Endpoints, ServiceEndpoints},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

// === A gateway ===

/// A gateway with what it routes to; changed by changing `system` or `instances` and applying it.
pub struct Stage {
    pub system: System,
    pub doors: Vec<Door>,
    pub directory: Directory,
    pub instances: BTreeMap<ServiceName, Vec<Endpoint>>,
    pub handle: Handle,
    pub identity: Identity,
    pub tls: Option<Tls>,
    gateway: Gateway,
    local: SocketAddr,
    version: u64,
}

/// A quick gateway: two workers, short times.
pub fn config() -> Config {
    Config {
        workers: NonZeroUsize::new(2),
        head_time: Duration::from_millis(300),
        idle_time: Duration::from_secs(5),
        drain_time: Duration::from_secs(2),
        ..Config::default()
    }
}

/// A route as `METHODS HOST/PATH [header=value…] -> service[=weight],…`; `-` stands for any method.
pub fn route(text: &str) -> Route {
    let (matcher, to) = text.split_once(" -> ").expect("a target");
    let mut words = matcher.split_whitespace();
    let methods = words.next().filter(|m| *m != "-").map_or(Vec::new(), |m| m.split(',').collect());
    let address = words.next().expect("an address");
    let slash = address.find('/').expect("a path");
    let target = |text: &str| {
        let (service, weight) = text.split_once('=').unwrap_or((text, "1"));
        Target { service: service.parse().unwrap(), weight: weight.parse().unwrap() }
    };
    Route {
        host: (slash > 0).then(|| address[..slash].to_owned()),
        path: address[slash..].to_owned(),
        methods: methods.into_iter().map(str::to_owned).collect(),
        headers: words
            .map(|w| w.split_once('=').expect("name=value"))
            .map(|(name, value)| HeaderMatch { name: name.into(), value: value.into() })
            .collect(),
        to: to.split(',').map(target).collect(),
        redirect: None,
        sticky: None,
        policy: Limits::default(),
        edge: Default::default(),
        require: None,
        place: Place { file: PathBuf::from("madang.toml"), line: 1 },
    }
}

/// A time limit and nothing else.
pub fn timeout(time: Duration) -> Limits {
    Limits::timeout(time, Place { file: PathBuf::from("madang.toml"), line: 1 })
}

fn service(name: &ServiceName) -> Service {
    Service {
        name: name.clone(),
        owner: None,
        domain: None,
        placement: Placement::Unit(name.into()),
        listen: None,
        protocol: Protocol::Http,
        calls: BTreeMap::new(),
        calls_at: Place { file: PathBuf::from("madang.toml"), line: 1 },
        database: None,
        policy: Limits::default(),
        edge: Default::default(),
        require: None,
    }
}

/// A system with these routes; every service that they name exists.
pub fn system(routes: &[&str]) -> System {
    let routes: Vec<Route> = routes.iter().map(|text| route(text)).collect();
    let names: BTreeSet<_> = routes.iter().flat_map(|r| &r.to).map(|t| t.service.clone()).collect();
    System {
        name: "test".parse().unwrap(),
        root: PathBuf::from("/"),
        files: Vec::new(),
        secrets: "/madang-secrets.toml".into(),
        gateway: FrontDoor {
            listen: ANY,
            policy: timeout(Duration::from_secs(5)),
            edge: Default::default(),
            cache_size: madang_model::edge::Cache::SIZE,
            auth: None,
            login: None,
            proxies: None,
            limit_store: None,
            tls: None,
        },
        issuer: None,
        telemetry: Default::default(),
        admin: Default::default(),
        policy: Limits::default(),
        services: names.iter().map(|name| (name.clone(), service(name))).collect(),
        units: BTreeMap::new(),
        routes,
        compositions: Vec::new(),
    }
}

pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What a manifest says, at a port that is free.
pub fn manifest(text: &str) -> System {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("madang.toml"), text).unwrap();
    let mut system = madang_model::manifest::load(folder.path(), &|_| None).unwrap().system;
    system.gateway.listen = ANY;
    system
}

/// The value of a field of an answer; empty if there is none.
pub fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

impl Stage {
    pub async fn new(routes: &[&str]) -> Self {
        Self::start(config(), system(routes), Vec::new()).await
    }

    pub async fn start(config: Config, system: System, mut listeners: Vec<Listener>) -> Self {
        // A free port is known to whoever binds it.
        let mut local = system.gateway.listen;
        if local.port() == 0 {
            let listener = Listener::bind(local).unwrap();
            local = listener.local_addr();
            listeners.push(listener);
        }
        let (directory, identity) = (Directory::default(), Identity::new(&[7; 32]));
        let snapshot = Snapshot::compile(&system, &directory, &[], &|_, _| Vec::new(), &identity).unwrap();
        let (gateway, handle) = Gateway::start_with(config, snapshot, listeners).await.unwrap();
        let (doors, instances) = (Vec::new(), BTreeMap::new());
        Self { system, doors, directory, instances, handle, identity, tls: None, gateway, local, version: 0 }
    }

    /// Puts an instance of a service into rotation.
    pub fn with(mut self, service: &str, address: SocketAddr) -> Self {
        self.add(service, address, Protocol::Http);
        self
    }

    pub fn add(&mut self, service: &str, address: SocketAddr, protocol: Protocol) {
        let instance = InstanceId(format!("{service}-{}", address.port()).into());
        let all = self.instances.entry(service.parse().unwrap()).or_default();
        all.push(Endpoint { instance, address, protocol, release: None });
        self.announce();
    }

    pub fn remove(&mut self, service: &str, address: SocketAddr) {
        let all = self.instances.get_mut(&service.parse::<ServiceName>().unwrap()).unwrap();
        all.retain(|endpoint| endpoint.address != address);
        self.announce();
    }

    fn announce(&mut self) {
        self.version += 1;
        let services = self.instances.iter().map(|(name, instances)| {
            (name.clone(), ServiceEndpoints { instances: instances.clone(), ..ServiceEndpoints::default() })
        });
        self.directory.apply(&Endpoints {
            version: self.version,
            services: services.collect(),
            ..Endpoints::default()
        });
    }

    /// Puts the system as it is now into force.
    pub async fn apply(&self) -> Result<(), madang_gateway::Error> {
        self.apply_with(Vec::new()).await
    }

    pub async fn apply_with(&self, listeners: Vec<Listener>) -> Result<(), madang_gateway::Error> {
        let faults: &dyn Fn(&_, &_) -> _ = &|_, _| Vec::new();
        let snapshot = Snapshot::compile(&self.system, &self.directory, &self.doors, faults, &self.identity)?;
        let snapshot = match &self.tls {
            Some(tls) => snapshot.over_tls(&self.system, tls.clone()),
            None => snapshot,
        };
        self.handle.apply(snapshot, listeners).await
    }

    /// Opens a door for these callers.
    pub async fn open_door(&mut self, callers: &[&str], callee: &str) -> SocketAddr {
        let listener = Listener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
        let address = listener.local_addr();
        let callers = callers.iter().map(|name| name.parse().unwrap()).collect();
        self.doors.push(Door { address, callee: callee.parse().unwrap(), callers });
        self.apply_with(vec![listener]).await.unwrap();
        address
    }

    /// Where the gateway listens since it started.
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    pub async fn client(&self) -> Client {
        Client::new(self.address()).await
    }

    pub async fn drain(&self) {
        self.gateway.drain().await;
    }

    pub async fn stop(self) {
        self.gateway.stop().await.unwrap();
    }

    pub fn stop_soon(self) -> JoinHandle<()> {
        tokio::spawn(self.stop())
    }
}

// === Services ===

/// Serves HTTP/1.1 with a function; the address is all there is to know of it.
pub async fn serve<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    serve_as(Protocol::Http, answer).await
}

pub async fn serve_as<F, R>(protocol: Protocol, answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let _ = match protocol {
                    Protocol::Http => {
                        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
                    }
                    Protocol::H2c | Protocol::Grpc => {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.serve_connection(io, service).await
                    }
                };
            });
        }
    });
    address
}

/// A service that answers with a text.
pub async fn saying(text: impl Into<Bytes>) -> SocketAddr {
    let text = text.into();
    serve(move |_| {
        let text = text.clone();
        async move { Response::new(Body::from(text)) }
    })
    .await
}

/// A service that answers with the request's line and headers, sorted, one a line.
pub async fn mirror(protocol: Protocol) -> SocketAddr {
    serve_as(protocol, |request| async move {
        let mut lines: Vec<String> =
            request.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        let first = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        Response::new(Body::from(format!("{first}\n{}", lines.join("\n"))))
    })
    .await
}

/// A service without a parser: it keeps every byte that reaches it, one record per connection, and answers each
/// connection once.
pub async fn recorder() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let records = Arc::new(Mutex::new(Vec::new()));
    let kept = records.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let kept = kept.clone();
            tokio::spawn(async move {
                let index = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let mut answered = false;
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                    let whole = {
                        let mut kept = kept.lock().unwrap();
                        kept[index].extend_from_slice(&chunk[..count]);
                        is_whole(&kept[index])
                    };
                    if whole && !answered {
                        answered = true;
                        let _ = stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                            .await;
                    }
                }
            });
        }
    });
    (address, records)
}

/// Whether a request is there to its end, by the one length that it may state.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        Some(length) => body.len() >= length.parse::<usize>().unwrap(),
        None => !head.contains("transfer-encoding: chunked") || body.contains("0\r\n\r\n"),
    }
}

// === Clients ===

/// An HTTP/1.1 client with one connection.
pub struct Client {
    address: SocketAddr,
    sender: hyper::client::conn::http1::SendRequest<Body>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Client {
    pub async fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { address, sender }
    }

    /// Sends a request without a body; its `Host` is the gateway's address unless given.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    pub async fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub async fn send(&mut self, request: Request<Body>) -> Result<Answer, hyper::Error> {
        self.sender.ready().await?;
        Answer::read(self.sender.send_request(request).await?).await
    }

    pub async fn start(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.sender.ready().await.unwrap();
        self.sender.send_request(request).await.unwrap()
    }
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Self { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The problem that it is, with the ids that it must have.
    #[track_caller]
    pub fn problem(&self) -> Problem {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.request_id.as_deref(), self.headers["x-request-id"].to_str().ok());
        assert_eq!(problem.trace_id.as_ref().map(String::len), Some(32));
        problem
    }
}

/// An HTTP/2 client by prior knowledge.
pub async fn http2(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends bytes as they are and reads until the gateway closes, or until `enough` says so.
pub async fn raw(address: SocketAddr, bytes: &[u8], enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut came = Vec::new();
    let mut chunk = [0; 4096];
    let read = async {
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            came.extend_from_slice(&chunk[..count]);
            if enough(&String::from_utf8_lossy(&came)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("an answer or an end");
    String::from_utf8(came).unwrap()
}

/// Looks again each time others have run, until it holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Long enough for whoever tries again after ever longer pauses, on a machine that is busy.
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it holds in time");
}
