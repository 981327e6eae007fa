//! A server that does what a test tells it, and a caller.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::{Body, BoxError, CallError, Client, ClientConfig, Directory, Lane, Origin, Policy};
use madang_model::{InstanceId, Protocol, ReleaseId};
use madang_wire::{
    Hop,
    service::{Endpoint, Endpoints, ServiceEndpoints},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// A listening server; it and its connections end when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub protocol: Protocol,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves HTTP with this handler.
    pub async fn start<F, A>(protocol: Protocol, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_at(([127, 0, 0, 1], 0).into(), protocol, handler).await
    }

    /// Serves HTTP with this handler at this address.
    pub async fn start_at<F, A>(address: SocketAddr, protocol: Protocol, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::listen(address, protocol, move |_, stream| {
            let handler = handler.clone();
            async move {
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                let _ = match protocol {
                    Protocol::Http => {
                        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
                    }
                    Protocol::H2c | Protocol::Grpc => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await
                    }
                };
            }
        })
        .await
    }

    /// Hands each connection, with its number from 1, to this function.
    pub async fn raw<F, A>(protocol: Protocol, serve: F) -> Self
    where
        F: Fn(usize, TcpStream) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        Self::listen(([127, 0, 0, 1], 0).into(), protocol, serve).await
    }

    async fn listen<F, A>(address: SocketAddr, protocol: Protocol, serve: F) -> Self
    where
        F: Fn(usize, TcpStream) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, SeqCst) + 1;
                serving.spawn(serve(number, stream));
            }
        });
        Self { address, protocol, connections, task }
    }

    /// How many connections it accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A caller of the service `users`.
pub struct Caller {
    pub client: Client,
    pub directory: Directory,
    pub users: Arc<Lane>,
    pub policy: Arc<Policy>,
    version: AtomicUsize,
}

impl Caller {
    pub fn new() -> Self {
        Self::with(ClientConfig { seed: 1, ..ClientConfig::new(Hop::Gateway) }, Policy::default())
    }

    pub fn with(config: ClientConfig, policy: Policy) -> Self {
        let directory = Directory::default();
        let users = directory.lane(Origin::Listener, &"users".parse().unwrap());
        let client = Client::new(config);
        Self { client, directory, users, policy: Arc::new(policy), version: AtomicUsize::new(0) }
    }

    /// Puts these servers in rotation, and no others.
    pub fn rotate(&self, servers: &[&Server]) -> &Self {
        self.apply(servers.iter().map(|server| (server.address, server.protocol)).collect())
    }

    /// Puts this address in rotation, and no other.
    pub fn rotate_to(&self, address: SocketAddr, protocol: Protocol) -> &Self {
        self.apply(vec![(address, protocol)])
    }

    /// Puts these addresses in rotation, and no others.
    pub fn apply(&self, addresses: Vec<(SocketAddr, Protocol)>) -> &Self {
        let endpoint = |(address, protocol): (SocketAddr, Protocol)| Endpoint {
            instance: InstanceId(format!("users-{}", address.port()).into()),
            address,
            protocol,
            release: Some(ReleaseId("r1".into())),
        };
        let instances = addresses.into_iter().map(endpoint).collect();
        let version = self.version.fetch_add(1, SeqCst) as u64;
        let users = ServiceEndpoints { instances, ..ServiceEndpoints::default() };
        let services = [("users".parse().unwrap(), users)].into();
        self.directory.apply(&Endpoints { version, services, ..Endpoints::default() });
        self
    }

    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        self.client.call(&self.users, &self.policy, request).await
    }

    /// The status and the text of the answer to a request without a body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        text(self.send(request("GET", path, "")).await.unwrap()).await
    }
}

pub fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

pub fn ok(body: impl Into<Body>) -> Response<Body> {
    Response::new(body.into())
}

pub async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A body that a test feeds; it ends when the sender is dropped.
pub fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, BoxError>>, Body) {
    let (sender, receiver) = mpsc::channel(16);
    (sender, Body::new(Fed(receiver)))
}

struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

pub fn data(bytes: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(bytes.as_bytes())))
}

pub fn trailers(name: &'static str, value: &str) -> Result<Frame<Bytes>, BoxError> {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().unwrap());
    Ok(Frame::trailers(trailers))
}

/// The next frame's bytes as text.
pub async fn frame(body: &mut Body) -> String {
    let frame = body.frame().await.expect("a frame").expect("no error");
    String::from_utf8(frame.into_data().expect("bytes").to_vec()).unwrap()
}
