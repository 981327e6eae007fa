//! Services in a test: with databases of their own in a temporary folder, without a node.
//!
//! What goes wrong while they start fails the test with a panic.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use madang_model::ServiceName;
use madang_wire::headers;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    Calls, IntoServices, Resources, Service,
    environment::Environment,
    principal::{Principals, signed},
    process::{Process, bind},
};

/// Where the services of a [`TestApp`] are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// All in one process: calls between them stay inside.
    Together,
    /// Each behind a port of its own: calls between them go over TCP.
    Apart,
}

/// Services that run for a test.
pub struct TestApp {
    services: Vec<Service>,
    placement: Placement,
    databases: BTreeMap<String, String>,
    folder: Folder,
    processes: Vec<Process>,
    addresses: BTreeMap<String, SocketAddr>,
}

/// What a service answered.
#[derive(Debug, Clone)]
pub struct TestReply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl TestApp {
    /// Starts services together in one process.
    pub async fn start(services: impl IntoServices) -> Self {
        Self::placed(Placement::Together, services).await
    }

    /// Starts services, each behind a port of its own.
    pub async fn remote(services: impl IntoServices) -> Self {
        Self::placed(Placement::Apart, services).await
    }

    /// Starts services in this placement.
    pub async fn placed(placement: Placement, services: impl IntoServices) -> Self {
        Self::with_databases(placement, services, &[]).await
    }

    /// Starts services in this placement. Those named have their database at the URL given; the others have a
    /// SQLite file in a temporary folder.
    pub async fn with_databases(
        placement: Placement,
        services: impl IntoServices,
        databases: &[(&str, &str)],
    ) -> Self {
        let owned = |(service, url): &(&str, &str)| ((*service).to_owned(), (*url).to_owned());
        let mut app = Self {
            services: services.into_services(),
            placement,
            databases: databases.iter().map(owned).collect(),
            folder: Folder::new(),
            processes: Vec::new(),
            addresses: BTreeMap::new(),
        };
        app.launch().await;
        app
    }

    /// Stops the services and starts them again; the rows in their databases stay.
    pub async fn restart(&mut self) {
        self.stop_processes().await;
        self.launch().await;
    }

    /// Stops the services and waits until they are gone.
    pub async fn stop(mut self) {
        self.stop_processes().await;
    }

    /// The URL of a service's database.
    pub fn database_url(&self, service: &str) -> String {
        let file = || format!("sqlite:{}", self.folder.0.join(format!("{service}.db")).display());
        self.databases.get(service).cloned().unwrap_or_else(file)
    }

    /// Where a service listens.
    pub fn address(&self, service: &str) -> SocketAddr {
        let address = self.addresses.get(service);
        *address.unwrap_or_else(|| panic!("{service} is not one of the services of this test"))
    }

    /// What a service has while it runs: its database, its calls.
    pub fn resources(&self, service: &str) -> Resources {
        let found = self.processes.iter().find_map(|process| process.resources(service));
        found.unwrap_or_else(|| panic!("{service} is not one of the services of this test"))
    }

    /// Calls in the name of a service.
    pub fn calls(&self, service: &str) -> Calls {
        self.resources(service).calls()
    }

    /// A `GET`.
    pub async fn get(&self, service: &str, path: &str) -> TestReply {
        self.request(service, Method::GET, path, &[], None).await
    }

    /// A `POST` of JSON.
    pub async fn post(&self, service: &str, path: &str, body: Value) -> TestReply {
        self.request(service, Method::POST, path, &[], Some(body)).await
    }

    /// A `POST` of JSON with headers.
    pub async fn post_with(
        &self,
        service: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> TestReply {
        self.request(service, Method::POST, path, headers, Some(body)).await
    }

    /// Any request; a body is sent as JSON.
    pub async fn request(
        &self,
        service: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> TestReply {
        let mut request = Request::builder().method(method).uri(path).header(headers::SERVICE, service);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|json| json.to_string()).unwrap_or_default();
        let request = request.body(Full::from(body)).expect("the test gives a valid path and headers");
        self.send(service, request).await
    }

    /// Any request, as it is; only `host` is added.
    pub async fn send(&self, service: &str, mut request: Request<Full<Bytes>>) -> TestReply {
        let address = self.address(service);
        let host = address.to_string().parse().expect("an address is a header value");
        request.headers_mut().insert(header::HOST, host);
        let stream = TcpStream::connect(address).await.expect("the service accepts connections");
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("a new connection takes a handshake");
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("the service answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the answer's body is whole").to_bytes();
        connection.abort();
        TestReply { status: parts.status, headers: parts.headers, body }
    }

    async fn launch(&mut self) {
        let groups: Vec<Vec<Service>> = match self.placement {
            Placement::Together => vec![self.services.clone()],
            Placement::Apart => self.services.iter().map(|service| vec![service.clone()]).collect(),
        };
        let believed = Principals::read(Some(&signed::keys())).expect("the keys of tests are a set");
        let mut environment = Environment::default().with_principals(believed);
        let mut listeners = Vec::new();
        for group in &groups {
            let listener = bind(0).await.expect("a free port can be listened on");
            let address = listener.local_addr().expect("a listener has an address");
            for service in group {
                let name: ServiceName = service.name.parse().expect("a service has a valid name");
                environment = environment.with_database(&name, self.database_url(&service.name));
                if self.placement == Placement::Apart {
                    environment.services.insert(name, address);
                }
                self.addresses.insert(service.name.clone(), address);
            }
            listeners.push(listener);
        }
        for (listener, group) in listeners.into_iter().zip(groups) {
            let process = Process::new(listener, group, &environment).expect("the services can be hosted");
            self.processes.push(process);
        }
        let started = try_join_all(self.processes.iter().map(Process::start)).await;
        started.unwrap_or_else(|error| panic!("{}", crate::error::chain(&error)));
    }

    async fn stop_processes(&mut self) {
        for process in self.processes.drain(..) {
            assert!(process.stop().await, "the services do not stop in time");
        }
    }
}

// === impl TestReply ===

impl TestReply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} is not JSON ({error}): {}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The header of a request that is made for somebody with these scopes and roles, as the gateway would set it. The
/// services of a [`TestApp`] believe it, and no others do.
pub fn principal(subject: &str, scopes: &[&str], roles: &[&str]) -> (&'static str, String) {
    (headers::PRINCIPAL, signed::for_an_hour(subject, scopes, roles))
}

/// A temporary folder that is removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("madang-test-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be created");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
