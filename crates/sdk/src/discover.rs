//! Where the services are that one may call: told by the node, or by the environment where there is no node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use madang_calls::{BoxError, Directory, Origin};
use madang_model::{InstanceId, Protocol, ServiceName};
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    declared::{Callee, Declared, Known},
    environment::ServiceApi,
    error::chain,
};

/// The node says something at least every 15 seconds; after three times that, it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// The first pause before connecting again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before connecting again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often it is said that the node is still away.
const REMINDER: Duration = Duration::from_secs(60);
/// The longest line that is read.
const LINE_LIMIT: usize = 4 * 1024 * 1024;

/// What one service learns of those that it may call.
pub(crate) struct Reach {
    caller: ServiceName,
    directory: Directory,
    declared: Declared,
    /// The services of this process, which are called in it.
    hosted: BTreeSet<ServiceName>,
}

/// How long the node has been away, and when that was said.
#[derive(Default)]
struct Away {
    heard: Option<Instant>,
    said: Option<Instant>,
}

// === impl Away ===

impl Away {
    /// The node is away: how old what it said last is, if that is to be said now, the first time and then every
    /// [`REMINDER`].
    fn lasts(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.said.is_some_and(|said| now - said < REMINDER) {
            return None;
        }
        self.said = Some(now);
        Some(self.heard.map(|heard| now - heard).unwrap_or_default())
    }

    /// The node says something: how long it was away, if it was.
    fn ends(&mut self) -> Option<Duration> {
        let heard = self.heard.replace(Instant::now());
        self.said.take().zip(heard).map(|(_, heard)| heard.elapsed())
    }
}

// === impl Reach ===

impl Reach {
    pub(crate) fn new(
        caller: ServiceName,
        directory: Directory,
        declared: Declared,
        hosted: BTreeSet<ServiceName>,
    ) -> Self {
        Self { caller, directory, declared, hosted }
    }

    /// Without a node: the services are where the environment says, or in this process.
    pub(crate) fn standalone(self, services: &BTreeMap<ServiceName, SocketAddr>) {
        let mut endpoints = Endpoints::default();
        for service in &self.hosted {
            endpoints.services.insert(service.clone(), ServiceEndpoints::default());
        }
        for (service, address) in services {
            let instance = InstanceId(format!("{service}-{address}").into());
            let endpoint = Endpoint { instance, address: *address, protocol: Protocol::Http, release: None };
            let one = ServiceEndpoints { instances: vec![endpoint], ..ServiceEndpoints::default() };
            endpoints.services.insert(service.clone(), one);
        }
        self.learn(endpoints);
    }

    /// Follows what the node says for as long as it is polled. What was last known stays in force while the
    /// node is away.
    pub(crate) async fn follow(self, api: ServiceApi) {
        let mut pause = PAUSE;
        let mut away = Away::default();
        loop {
            let ended = follow(&api, &self.caller, |endpoints| {
                pause = PAUSE;
                if let Some(time) = away.ends() {
                    tracing::info!(service = %self.caller, away = time.as_secs(), "the service API is back");
                }
                self.learn(endpoints);
            });
            if let Err(error) = ended.await
                && let Some(age) = away.lasts()
            {
                let (error, age) = (chain(error.as_ref()), age.as_secs());
                tracing::warn!(
                    service = %self.caller, error, age, "lost the service API; what was known stays in force"
                );
            }
            // Jitter, so that the processes of a node that restarts do not come back all at once.
            let jittered = pause.mul_f64(rand::random_range(0.5..=1.0));
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn learn(&self, mut endpoints: Endpoints) {
        let known = self.known(&endpoints);
        for (service, endpoints) in &mut endpoints.services {
            if self.hosted.contains(service) {
                endpoints.instances.clear();
            }
        }
        self.directory.apply(&endpoints);
        // Last: what may be called can be reached.
        self.declared.set(known);
    }

    fn known(&self, endpoints: &Endpoints) -> Known {
        let callee = |(service, endpoints): (&ServiceName, &ServiceEndpoints)| {
            let lane = self.directory.lane(Origin::Caller(self.caller.clone()), service);
            let policy = Arc::new(endpoints.policy.clone().unwrap_or_default());
            (service.clone(), Callee { lane, policy })
        };
        Known {
            callees: endpoints.services.iter().map(callee).collect(),
            calls_at: endpoints.calls_at.clone(),
        }
    }
}

/// One connection to the node: calls `heard` with each line until the node ends the stream or falls silent.
async fn follow(
    api: &ServiceApi,
    caller: &ServiceName,
    mut heard: impl FnMut(Endpoints),
) -> Result<(), BoxError> {
    let (mut body, _connection) = tokio::time::timeout(SILENCE, open(api, caller)).await??;
    let mut line = BytesMut::new();
    while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await? {
        let Ok(data) = frame?.into_data() else { continue };
        let mut searched = line.len();
        line.extend_from_slice(&data);
        while let Some(end) = line[searched..].iter().position(|&byte| byte == b'\n') {
            let whole = line.split_to(searched + end + 1);
            heard(serde_json::from_slice(&whole)?);
            searched = 0;
        }
        if line.len() > LINE_LIMIT {
            return Err("a line of the service API is too long".into());
        }
    }
    Ok(())
}

/// Asks for the stream. The connection is driven by a task that ends when the handle is dropped.
async fn open(api: &ServiceApi, caller: &ServiceName) -> Result<(Incoming, Driven), BoxError> {
    let stream = TcpStream::connect(api.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driven = Driven(tokio::spawn(async move {
        // The body reports what breaks the connection.
        let _ = connection.await;
    }));
    let request = Request::get(format!("/v1/endpoints?watch=true&service={caller}"))
        .header(header::HOST, api.address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", api.token))
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the service API answered {}", response.status()).into());
    }
    Ok((response.into_body(), driven))
}

/// A connection that is closed when this is dropped.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, extract::RawQuery, http::HeaderMap, routing::get};
    use futures_util::stream;
    use madang_calls::Policy;
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;

    /// A node that says what the test sends, to one connection after the other.
    struct FakeNode {
        api: ServiceApi,
        /// Each connection as it arrives: what it asked for, and where to send it lines.
        asked: mpsc::Receiver<(String, mpsc::Sender<String>)>,
    }

    impl FakeNode {
        async fn start() -> Self {
            let (arrived, asked) = mpsc::channel(8);
            let endpoints = move |RawQuery(query): RawQuery, headers: HeaderMap| async move {
                let (say, lines) = mpsc::channel::<String>(8);
                let token = headers["authorization"].to_str().unwrap().to_owned();
                arrived.send((format!("{} {token}", query.unwrap_or_default()), say)).await.unwrap();
                Body::from_stream(stream::unfold(lines, |mut lines| async {
                    Some((Ok::<_, BoxError>(lines.recv().await?), lines))
                }))
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/v1/endpoints", get(endpoints));
            tokio::spawn(async { axum::serve(listener, router).await });
            Self { api: ServiceApi { address, token: "secret".into() }, asked }
        }
    }

    fn reach<const N: usize>(directory: &Directory, declared: &Declared, hosted: [ServiceName; N]) -> Reach {
        Reach::new("orders".parse().unwrap(), directory.clone(), declared.clone(), hosted.into())
    }

    fn line(version: u64, service: &str, ports: &[u16]) -> String {
        let instance = |port| {
            let instance = InstanceId(format!("{service}-{port}").into());
            let address = ([127, 0, 0, 1], port).into();
            Endpoint { instance, address, protocol: Protocol::Http, release: None }
        };
        let instances = ports.iter().copied().map(instance).collect();
        let policy = Policy { timeout: Duration::from_millis(1500), ..Policy::default() };
        let one = ServiceEndpoints { instances, policy: Some(policy), ..ServiceEndpoints::default() };
        let endpoints =
            Endpoints { version, services: [(service.parse().unwrap(), one)].into(), ..Endpoints::default() };
        serde_json::to_string(&endpoints).unwrap() + "\n"
    }

    /// Waits until exactly this service is declared; the limits of a call to it.
    async fn declares(declared: &Declared, service: &str) -> Arc<Policy> {
        let is = |known: &Known| known.callees.keys().map(ServiceName::as_str).eq([service]);
        let known = tokio::time::timeout(Duration::from_secs(5), declared.when(is)).await;
        known.unwrap_or_else(|_| panic!("{service} is never declared")).callees[service].policy.clone()
    }

    #[tokio::test]
    async fn what_the_node_says_holds_until_it_says_otherwise() {
        let mut node = FakeNode::start().await;
        let (directory, declared) = (Directory::default(), Declared::unknown());
        let reach = reach(&directory, &declared, []);
        tokio::spawn(reach.follow(node.api.clone()));
        let has = |service: &str| directory.upstream(&service.parse().unwrap()).has_instance();

        let (asked, say) = node.asked.recv().await.unwrap();
        assert_eq!(asked, "watch=true&service=orders Bearer secret");
        // A line may come in pieces.
        let text = line(7, "users", &[3001]);
        let (start, end) = text.split_at(20);
        say.send(start.to_owned()).await.unwrap();
        say.send(end.to_owned()).await.unwrap();
        let policy = declares(&declared, "users").await;
        assert_eq!(policy.timeout, Duration::from_millis(1500));
        assert!(has("users"));

        drop(say);
        let (_, say) = node.asked.recv().await.expect("it connects again");
        assert!(has("users"), "what was known stays in force while the node is away");

        // The node has begun to count anew.
        say.send(line(1, "payments", &[3002]) + &line(2, "catalog", &[])).await.unwrap();
        declares(&declared, "catalog").await;
        assert!(!has("users") && !has("payments") && !has("catalog"));
    }

    /// However long it was away, and however often it was tried.
    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_away_for_hours_is_found_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (directory, declared) = (Directory::default(), Declared::unknown());
        let reach = reach(&directory, &declared, []);
        let following = tokio::spawn(reach.follow(ServiceApi { address, token: "secret".into() }));
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        assert!(!following.is_finished(), "it is tried for ever");
        let listener = TcpListener::bind(address).await.unwrap();
        let began = Instant::now();
        listener.accept().await.unwrap();
        assert!(began.elapsed() <= LONGEST_PAUSE, "and at least this often");
    }

    #[tokio::test(start_paused = true)]
    async fn how_old_what_is_known_is_is_said_once_a_minute() {
        let seconds = async |n| tokio::time::sleep(Duration::from_secs(n)).await;
        let mut away = Away::default();
        assert_eq!(away.lasts(), Some(Duration::ZERO), "nothing was ever heard");
        assert_eq!(away.ends(), None, "nor was anything lost");
        seconds(20).await;
        assert_eq!(away.ends(), None);
        seconds(10).await;
        assert_eq!(away.lasts(), Some(Duration::from_secs(10)));
        seconds(30).await;
        assert_eq!(away.lasts(), None);
        seconds(30).await;
        assert_eq!(away.lasts(), Some(Duration::from_secs(70)));
        seconds(5).await;
        assert_eq!(away.ends(), Some(Duration::from_secs(75)));
        assert_eq!(away.ends(), None);
    }

    #[tokio::test]
    async fn a_service_of_this_process_is_called_in_it() {
        let (directory, declared) = (Directory::default(), Declared::unknown());
        let reach = reach(&directory, &declared, ["users".parse().unwrap()]);
        reach.learn(serde_json::from_str(&line(1, "users", &[3001])).unwrap());
        // It is declared, with its limits, but no instance of it is told to the directory.
        assert_eq!(declares(&declared, "users").await.timeout, Duration::from_millis(1500));
        assert!(!directory.upstream(&"users".parse().unwrap()).has_instance());
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_given_up() {
        let mut node = FakeNode::start().await;
        let reach = reach(&Directory::default(), &Declared::unknown(), []);
        tokio::spawn(reach.follow(node.api.clone()));
        let (_, say) = node.asked.recv().await.unwrap();
        while say.send(" ".repeat(1024 * 1024)).await.is_ok() {}
        node.asked.recv().await.expect("it connects again");
    }
}
