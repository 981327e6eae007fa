//! Worker threads: each has a runtime, upstream connections and connections of its own.

use std::{
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use madang_calls::{Client, ClientConfig};
use madang_wire::{Hop, RequestRecord};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

use crate::{
    Config,
    auth::cache::Cache,
    compositions,
    connection::{Connection, Protocols},
    snapshot::Front,
    stats::{Counters, Stats},
};

/// How often a worker looks at its connections, and the unit that their ages are counted in.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Where connections come in, as those connections see it.
pub(crate) struct Port {
    /// What is done with requests; replaced while they run.
    pub(crate) front: ArcSwap<Front>,
    /// Its address, as a `Host` field has it.
    pub(crate) host: HeaderValue,
    closed: AtomicBool,
    /// Goes with the last of its connections, once nothing accepts any either.
    _used: oneshot::Sender<()>,
}

/// A worker as other threads see it.
pub(crate) struct Worker {
    pub(crate) counters: Counters,
    /// The tokens and keys that it has verified. Only its own requests lock it.
    pub(crate) verified: Mutex<Cache>,
    clients: OnceLock<Clients>,
    /// With connections of its own, and records that nobody reads. Made for the first copy of a request.
    mirror: OnceLock<Client>,
    connections: AtomicUsize,
    /// How many of them are about to agree on TLS.
    handshakes: AtomicUsize,
    /// How many requests have become tunnels, and how many may.
    tunnels: AtomicUsize,
    most_tunnels: usize,
    /// Records that were dropped, as far as it showed when they were taken.
    dropped: AtomicU64,
    /// The tick that the worker's last look at its connections was in.
    tick: AtomicU32,
    started: Instant,
}

/// A worker's client, by where its calls come from.
struct Clients {
    gateway: Client,
    door: Client,
}

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: std::net::SocketAddr,
    pub(crate) port: Arc<Port>,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What a worker knows of its open connections.
struct Connections {
    worker: Arc<Worker>,
    protocols: Arc<Protocols>,
    open: Vec<Open>,
    /// How many handshakes may be under way.
    handshakes: usize,
    head_ticks: u32,
    idle_ticks: u32,
    drain_ticks: u32,
    stopping: bool,
}

struct Open {
    connection: Weak<Connection>,
    /// The tick at which it was told to finish.
    finishing: Option<u32>,
}

// === impl Port ===

impl Port {
    pub(crate) fn new(local: std::net::SocketAddr, front: Arc<Front>, used: oneshot::Sender<()>) -> Self {
        Self {
            front: ArcSwap::new(front),
            host: HeaderValue::try_from(local.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("localhost")),
            closed: AtomicBool::new(false),
            _used: used,
        }
    }

    /// Has its connections finish.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            counters: Counters::default(),
            verified: Mutex::default(),
            clients: OnceLock::new(),
            mirror: OnceLock::new(),
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            most_tunnels: (config.tunnels / config.worker_count()).max(1),
            dropped: AtomicU64::new(0),
            tick: AtomicU32::new(0),
            started: Instant::now(),
        }
    }

    /// Serves connections until no more can come and those that are open have ended or had their time. Runs on
    /// the worker's own runtime.
    pub(crate) async fn run(self: Arc<Self>, config: Config, mut queue: mpsc::UnboundedReceiver<Accepted>) {
        self.make_clients(&config);
        let mut connections = Connections::new(self.clone(), &config);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !(connections.stopping && connections.open.is_empty()) {
            tokio::select! {
                accepted = queue.recv(), if !connections.stopping => match accepted {
                    Some(accepted) => connections.open(accepted),
                    None => {
                        connections.stopping = true;
                        connections.look();
                    }
                },
                _ = ticks.tick(), if !connections.open.is_empty() => connections.look(),
            }
        }
    }

    /// Makes what calls are made with, before the first connection is taken. On the thread that takes them.
    pub(crate) fn make_clients(&self, config: &Config) {
        let clients = self.clients.get_or_init(|| Clients::new(config));
        compositions::call_with(clients.door.clone());
    }

    /// Counts a connection that is on its way here.
    pub(crate) fn connection_begins(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_ended(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Counts a tunnel in, if there is room for one more.
    pub(crate) fn tunnel_begins(&self) -> bool {
        let room = self.tunnels.load(Relaxed) < self.most_tunnels;
        self.counters.tunnel(room);
        if room {
            self.tunnels.fetch_add(1, Relaxed);
        }
        room
    }

    pub(crate) fn tunnel_ended(&self) {
        self.tunnels.fetch_sub(1, Relaxed);
    }

    pub(crate) fn handshake_begins(&self) {
        self.handshakes.fetch_add(1, Relaxed);
    }

    pub(crate) fn handshake_ended(&self) {
        self.handshakes.fetch_sub(1, Relaxed);
    }

    /// The current tick, as of the last look.
    pub(crate) fn now(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    /// Moves the records that it has kept.
    pub(crate) fn take_records(&self, into: &mut Vec<RequestRecord>) {
        for client in self.all_clients() {
            let (mut taken, dropped) = client.drain_records();
            into.append(&mut taken);
            self.dropped.fetch_add(dropped, Relaxed);
        }
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        self.counters.add_to(stats);
        stats.connections += self.connections() as u64;
        stats.tunnels += self.tunnels.load(Relaxed) as u64;
        stats.records_dropped += self.dropped.load(Relaxed);
    }

    fn catch_up(&self) -> u32 {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        let now = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.tick.store(now, Relaxed);
        now
    }

    fn all_clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.get().into_iter().flat_map(|clients| [&clients.gateway, &clients.door])
    }

    /// What copies of requests are sent with, which are in nobody's way. To be asked for by requests of this worker.
    pub(crate) fn mirror_client(&self) -> Client {
        let config = || ClientConfig { records: 1, ..ClientConfig::new(Hop::Gateway) };
        self.mirror.get_or_init(|| Client::new(config())).clone()
    }

    /// What calls are made with that come in at such a front.
    pub(crate) fn client(&self, front: &Front) -> &Client {
        let clients = self.clients.get().expect("the clients are made before the first connection is taken");
        if front.is_inside() { &clients.door } else { &clients.gateway }
    }
}

// === impl Clients ===

impl Clients {
    fn new(config: &Config) -> Self {
        let client = |hop| Client::new(ClientConfig { records: config.records, ..ClientConfig::new(hop) });
        Self { gateway: client(Hop::Gateway), door: client(Hop::Door) }
    }
}

// === impl Connections ===

impl Connections {
    fn new(worker: Arc<Worker>, config: &Config) -> Self {
        Self {
            worker,
            protocols: Arc::new(Protocols::new(config)),
            open: Vec::new(),
            handshakes: (config.handshakes / config.worker_count()).max(1),
            head_ticks: ticks(config.head_time),
            idle_ticks: ticks(config.idle_time),
            drain_ticks: ticks(config.drain_time),
            stopping: false,
        }
    }

    fn open(&mut self, accepted: Accepted) {
        self.worker.catch_up();
        let Accepted { stream, peer, port, permit } = accepted;
        // From here on the connection counts itself out, however it ends.
        let connection = Connection::new(self.worker.clone(), port, peer, permit);
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "failed to take over a connection"),
        };
        // Answers are written whole; waiting for more to send only delays their end.
        let _ = stream.set_nodelay(true);
        let tls = connection.port.front.load().tls();
        let hands = tls.map(|shown| {
            self.make_room();
            connection.shake_hands(shown)
        });
        self.open.push(Open { connection: Arc::downgrade(&connection), finishing: None });
        tokio::spawn(connection.serve(stream, hands, self.protocols.clone()));
    }

    /// Has the handshake that began first give way, if as many are under way as may be: those who mean it are done soon.
    fn make_room(&self) {
        if self.worker.handshakes.load(Relaxed) >= self.handshakes
            && self.open.iter().filter_map(|open| open.connection.upgrade()).any(|it| it.give_way())
        {
            self.worker.counters.gave_way();
        }
    }

    /// Lets go of the connections that ended, and ends those whose time is over.
    fn look(&mut self) {
        let now = self.worker.catch_up();
        let (head, idle, drain, stopping) =
            (self.head_ticks, self.idle_ticks, self.drain_ticks, self.stopping);
        self.open.retain_mut(|open| {
            let Some(connection) = open.connection.upgrade() else { return false };
            let closed = stopping || connection.port.closed.load(Relaxed);
            let head_is_late = connection.head_age(now).is_some_and(|age| age > head);
            let drain_is_over = open.finishing.is_some_and(|since| now.saturating_sub(since) > drain);
            connection.look_after(now);
            if drain_is_over {
                connection.abort();
            } else if head_is_late {
                connection.late();
            } else if open.finishing.is_none()
                && (closed || connection.idle_age(now).is_some_and(|age| age > idle))
            {
                open.finishing = Some(now);
                connection.finish();
            }
            true
        });
    }
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

// === impl Protocols ===

impl Protocols {
    pub(crate) fn new(config: &Config) -> Self {
        // Heads and idle connections are timed by the worker, once for all connections; clients that vanish are found
        // out by the kernel.
        let mut http1 = http1::Builder::new();
        http1.header_read_timeout(None).max_header_size(config.head_bytes).max_buf_size(MAX_BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(config.streams)
            .enable_connect_protocol()
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS);
        Self { http1, http2 }
    }
}

/// The most that is read ahead or written behind on an HTTP/1 connection, in bytes; a head that is not
/// complete within it is refused.
const MAX_BUFFER: usize = 64 * 1024;

/// How many streams a client may open and reset, or have reset for errors of its own, before the connection is
/// given up (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 64;
