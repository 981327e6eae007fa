//! What this process knows of its own calls, and of how those answer that it calls, told to the node that runs it.
//!
//! A call leaves its record in a ring and goes on. Twice a second the ring is emptied and sent. Where the node is not
//! there the ring fills up; what then finds no room is counted, and so is what was sent and may not have arrived: it is
//! not sent again, since a call that is counted twice is worse than one that is known to be missing. A change that is told
//! twice is no harm: those are.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use madang_calls::{BoxError, Client};
use madang_wire::{RequestRecord, admin::Event};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{changes::Seen, environment::ServiceApi, error::chain, post::Post};

/// How often the records are sent.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long the node gets for it.
const LIMIT: Duration = Duration::from_secs(5);
/// How many are sent at once.
const MOST: usize = 1000;

/// Tells the node of the calls of a client.
pub(crate) struct Courier {
    client: Client,
    post: Post,
    authorization: String,
    seen: Seen,
    /// How many the node has not been told that it will never hear of.
    lost: u64,
}

impl Courier {
    pub(crate) fn new(client: Client, seen: Seen, api: &ServiceApi) -> Self {
        let authorization = format!("Bearer {}", api.token);
        Self { client, post: Post::to(api.address.to_string()), authorization, seen, lost: 0 }
    }

    /// Tells it until this is `over`, and then once more.
    pub(crate) async fn run(mut self, over: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let last = tokio::select! {
                () = over.cancelled() => true,
                _ = ticks.tick() => false,
            };
            match (self.deliver().await, failing) {
                (Err(error), false) => {
                    failing = true;
                    let error = chain(error.as_ref());
                    tracing::debug!(error, "the node does not hear of the calls of this process");
                }
                (Ok(()), true) => failing = false,
                _ => {}
            }
            if last {
                return;
            }
        }
    }

    async fn deliver(&mut self) -> Result<(), BoxError> {
        // Also while the node is away: nobody sees later what came and went meanwhile.
        self.seen.look();
        // First, because what is not drained is not lost.
        timeout(LIMIT, self.post.connect()).await??;
        let (records, dropped) = self.client.drain_records();
        self.lost += dropped;
        let mut left = records.len() as u64;
        let mut parts = records.chunks(MOST);
        let mut failed = None;
        while failed.is_none()
            && let Some(part) = parts.next().or(self.owes().then_some(&[]))
        {
            let dropped = std::mem::take(&mut self.lost);
            let (events, events_dropped) = self.seen.waiting();
            let told = Told { records: part, dropped, events: &events, events_dropped };
            match timeout(LIMIT, self.send(&told)).await.map_err(BoxError::from).flatten() {
                Ok(()) => {
                    left -= part.len() as u64;
                    self.seen.told(events.len(), events_dropped);
                }
                Err(error) => {
                    self.lost = dropped + left;
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether there is something to tell beside records.
    fn owes(&self) -> bool {
        let (events, dropped) = self.seen.waiting();
        self.lost > 0 || dropped > 0 || !events.is_empty()
    }

    async fn send(&mut self, told: &Told<'_>) -> Result<(), BoxError> {
        let body = serde_json::to_vec(told)?;
        let request = Request::post("/v1/records")
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = self.post.send(request).await?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(format!("the service API answered {}", answer.status()).into()),
        }
    }
}

/// [`madang_wire::service::Records`], borrowed.
#[derive(Serialize)]
struct Told<'a> {
    records: &'a [RequestRecord],
    dropped: u64,
    events: &'a [Event],
    events_dropped: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        body::Body,
        extract::State,
        http::{HeaderMap, StatusCode},
        routing::{get, post},
    };
    use madang_wire::{Hop, service::Records};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        Service,
        environment::Environment,
        process::{Process, bind},
    };

    /// A node that keeps what it is told, and refuses it as long as it is told to.
    #[derive(Clone, Default)]
    struct Node {
        told: Arc<Mutex<Vec<Records>>>,
        refuses: Arc<Mutex<bool>>,
    }

    impl Node {
        async fn start(&self) -> ServiceApi {
            async fn endpoints() -> Body {
                let known = r#"{"version": 1, "services": {"users": {"instances": []}}}"#;
                let first = futures_util::stream::iter([Ok::<_, std::io::Error>(format!("{known}\n"))]);
                Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
            }
            async fn records(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> StatusCode {
                assert_eq!(headers[header::AUTHORIZATION], "Bearer secret");
                if *node.refuses.lock().unwrap() {
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
                node.told.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                StatusCode::OK
            }
            let router =
                Router::new().route("/v1/endpoints", get(endpoints)).route("/v1/records", post(records));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(axum::serve(listener, router.with_state(self.clone())).into_future());
            ServiceApi { address, token: "secret".to_owned() }
        }
    }

    #[tokio::test]
    async fn the_node_hears_of_each_call_before_the_process_ends_and_of_what_is_lost() {
        let users = Service::new("users").routes(Router::new().route("/", get(|| async { "here" })));
        let orders = Service::new("orders");
        let node = Node::default();
        let mut environment = Environment::default();
        environment.service_api = Some(node.start().await);
        let process = Process::new(bind(0).await.unwrap(), vec![users, orders], &environment).unwrap();
        process.start().await.unwrap();
        let calls = process.resources("orders").unwrap().calls();
        calls.to("users").get("/").send().await.unwrap();
        assert!(process.stop().await);
        let told = std::mem::take(&mut *node.told.lock().unwrap());
        let [Records { records, dropped: 0, .. }] = &told[..] else { panic!("{told:?}") };
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!((record.hop, record.status, record.parent_span_id), (Hop::Sdk, 200, None));
        assert_eq!((record.caller.as_deref(), record.service.as_deref()), (Some("orders"), Some("users")));
    }

    #[tokio::test]
    async fn what_the_node_refuses_is_counted_and_not_sent_again() {
        let node = Node::default();
        let api = node.start().await;
        let client = madang_calls::Client::new(madang_calls::ClientConfig::new(Hop::Sdk));
        let mut courier = Courier::new(client.clone(), Seen::of([]), &api);
        let context = madang_calls::Context::root();
        let call = || {
            let now = tokio::time::Instant::now();
            client.record_answered(&context, &http::Method::GET, madang_wire::Code::UNDECLARED, now);
        };
        *node.refuses.lock().unwrap() = true;
        call();
        call();
        courier.deliver().await.unwrap_err();
        *node.refuses.lock().unwrap() = false;
        call();
        courier.deliver().await.unwrap();
        let told = node.told.lock().unwrap();
        let [Records { records, dropped: 2, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(records.len(), 1);
    }

    #[tokio::test]
    async fn a_breaker_that_opens_in_this_process_is_told_also_after_the_node_was_away() {
        let node = Node::default();
        let api = node.start().await;
        let directory = madang_calls::Directory::default();
        let (caller, callee) = ("orders".parse().unwrap(), "payments".parse().unwrap());
        let lane = directory.lane(madang_calls::Origin::Caller(caller), &callee);
        directory.host(
            callee,
            madang_calls::LocalService::new(tower::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(
                    http::Response::builder().status(500).body(madang_calls::Body::empty()).unwrap(),
                )
            })),
        );
        let rules = madang_model::policy::Breaker { failures: 3, ..Default::default() };
        let policy =
            Arc::new(madang_calls::Policy { breaker: Some(rules), attempts: 1, ..Default::default() });
        let client = madang_calls::Client::new(madang_calls::ClientConfig::new(Hop::Sdk));
        let mut courier = Courier::new(client.clone(), Seen::of([directory]), &api);
        for _ in 0..3 {
            let request = Request::get("/").body(madang_calls::Body::empty()).unwrap();
            client.call(&lane, &policy, request).await.unwrap();
        }
        *node.refuses.lock().unwrap() = true;
        courier.deliver().await.unwrap_err();
        *node.refuses.lock().unwrap() = false;
        courier.deliver().await.unwrap();
        courier.deliver().await.unwrap();
        let told = node.told.lock().unwrap();
        let [Records { events, events_dropped: 0, .. }] = &told[..] else { panic!("told once: {told:?}") };
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&*event.unit, event.kind), ("payments", madang_wire::admin::EventKind::BreakerOpened));
        assert!(event.message.contains(": of 3 answers 3 failed"), "{event:?}");
    }
}
