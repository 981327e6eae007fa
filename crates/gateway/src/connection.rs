//! One connection, from its first byte to its last.

mod handshake;
mod in_flight;
mod sniffed;

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Poll, Waker},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http::{HeaderValue, StatusCode};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::BoxError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tracing::debug;

pub(crate) use self::{
    handshake::Handshake,
    in_flight::{AnswerBody, InFlight},
};
use self::{handshake::Secure, sniffed::Sniffed};
use crate::{
    auth::guard::Visitor,
    edge,
    inspect::Sender,
    unread,
    worker::{Port, Worker},
};

/// How an HTTP/2 connection starts when the client knows that the server speaks it (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the worker has told a connection, in the order of urgency.
const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const LATE: u8 = 2;
const ABORT: u8 = 3;

/// How many ticks a client is waited for that sends no more: it may wait for its answer, or be gone, which look alike.
const HALF_OPEN: u32 = 20;

/// An open connection as its worker and its requests see it.
pub(crate) struct Connection {
    pub(crate) port: Arc<Port>,
    pub(crate) worker: Arc<Worker>,
    peer: HeaderValue,
    address: IpAddr,
    /// Set once the client and the gateway have agreed on TLS.
    secure: OnceLock<Secure>,
    /// Whether they are about to.
    shakes_hands: AtomicBool,
    /// Whether it speaks something else than HTTP, which is nobody's here to read.
    tunnel: AtomicBool,
    /// Requests whose answer has not ended.
    in_flight: AtomicU32,
    /// The tick at which the last answer ended, or the connection was accepted.
    quiet_since: AtomicU32,
    /// The tick, plus one, at which the first byte of a head came that has not ended; 0 if there is none.
    head_since: AtomicU32,
    /// The tick, plus one, at which the client ended its side although it waits for an answer; 0 if it has not.
    ended_since: AtomicU32,
    /// Whether an answer may be on its way: from the beginning of a request until all of its answer is written.
    answering: AtomicBool,
    told: AtomicU8,
    waker: AtomicWaker,
    _permit: OwnedSemaphorePermit,
}

/// The servers for both protocols, set up once per worker.
pub(crate) struct Protocols {
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(
        worker: Arc<Worker>,
        port: Arc<Port>,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let now = worker.now();
        Arc::new(Self {
            port,
            peer: address_value(peer),
            address: peer.ip().to_canonical(),
            secure: OnceLock::new(),
            shakes_hands: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            quiet_since: AtomicU32::new(now),
            head_since: AtomicU32::new(0),
            ended_since: AtomicU32::new(0),
            answering: AtomicBool::new(false),
            told: AtomicU8::new(GO_ON),
            waker: AtomicWaker::new(),
            worker,
            _permit: permit,
        })
    }

    /// Who asks, for whoever stands before a route.
    pub(crate) fn visitor(&self) -> Visitor<'_> {
        let peer = self.secure.get().and_then(|secure| secure.peer.as_ref());
        Visitor { address: self.address, cache: &self.worker.verified, peer }
    }

    pub(crate) fn sender(&self) -> Sender<'_> {
        let secure = self.secure.get();
        let reach = secure.and_then(|secure| secure.reach.as_ref());
        let (address, listener, secure) = (&self.peer, &self.port.host, secure.is_some());
        Sender { address, listener, secure, proxied: false, host: None, reach }
    }

    /// Serves the connection until it ends.
    pub(crate) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        hands: Option<Handshake>,
        protocols: Arc<Protocols>,
    ) {
        let served = match hands {
            // In a box, so that a connection without it is none the larger.
            Some(hands) => Box::pin(self.serve_over_tls(stream, hands, &protocols)).await,
            None => self.serve_plain(stream, &protocols).await,
        };
        if let Err(error) = served {
            debug!(%error, "a connection ended early");
        }
    }

    /// Over a stream as it is, the first bytes say which protocol it is.
    pub(crate) async fn serve_plain<S>(
        self: &Arc<Self>,
        mut stream: S,
        protocols: &Protocols,
    ) -> Result<(), BoxError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let sniffing = self.until_told(self.sniff(&mut stream), |_| self.abort());
        let Some((first, is_http2)) = sniffing.await.transpose()? else { return Ok(()) };
        self.speak(Sniffed { first, stream, heads: None, unread: None }, is_http2, protocols).await
    }

    /// Answers requests until the connection ends.
    async fn speak<S>(
        self: &Arc<Self>,
        mut stream: Sniffed<S>,
        is_http2: bool,
        protocols: &Protocols,
    ) -> Result<(), BoxError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if is_http2 {
            self.head_since.store(0, Relaxed);
        } else {
            stream.heads = Some(self.clone());
        }
        let io = TokioIo::new(stream);
        let service = service_fn(|request| edge::answer(InFlight::begin(self), request));
        let ended = if is_http2 {
            let serving = protocols.http2.serve_connection(io, service);
            self.until_told(serving, |serving| serving.graceful_shutdown()).await
        } else {
            let serving = protocols.http1.serve_connection(io, service).with_upgrades();
            self.until_told(serving, |serving| serving.graceful_shutdown()).await
        };
        ended.transpose().map(drop).map_err(BoxError::from)
    }

    /// From now on it carries bytes.
    pub(crate) fn is_now_a_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Reads until it is clear whether the client speaks HTTP/2; returns what was read.
    async fn sniff<S: AsyncRead + Unpin>(&self, stream: &mut S) -> io::Result<(Bytes, bool)> {
        let mut first = BytesMut::with_capacity(PREFACE.len());
        loop {
            let room = PREFACE.len() - first.len();
            let came = stream.read_buf(&mut (&mut first).limit(room)).await?;
            self.bytes_came();
            let is_prefix = PREFACE.starts_with(&first);
            if came == 0 || !is_prefix || first.len() == PREFACE.len() {
                return Ok((first.freeze(), is_prefix && came > 0));
            }
        }
    }

    /// Runs a part of the connection. Once told to finish it calls `finish`; once told to abort it gives up. Whoever
    /// reads a head that is late finds that out by itself.
    pub(crate) async fn until_told<F: Future>(
        &self,
        part: F,
        finish: impl Fn(Pin<&mut F>),
    ) -> Option<F::Output> {
        let mut part = pin!(part);
        let mut finishing = false;
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| {
            // Whoever wakes takes the waker away, which is done only to connections in one of these states; until then
            // it is registered once, which is not free.
            let woken = self.told.load(Relaxed) != GO_ON || self.ended_since.load(Relaxed) != 0;
            if woken || !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                self.waker.register(cx.waker());
                registered = Some(cx.waker().clone());
            }
            if self.told.load(Relaxed) == FINISH && !finishing {
                finishing = true;
                finish(part.as_mut());
            }
            if self.told.load(Relaxed) == ABORT {
                return Poll::Ready(None);
            }
            part.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Whether it was not told before.
    fn tell(&self, what: u8) -> bool {
        let news = self.told.fetch_max(what, Relaxed) < what;
        if news {
            self.waker.wake();
        }
        news
    }

    /// Ends the connection after the requests in flight; a new one is still answered if it crosses.
    pub(crate) fn finish(&self) {
        let _ = self.tell(FINISH);
    }

    /// Has it say that the rest of a head does not come, and end. The second time it ends however far it has come.
    pub(crate) fn late(&self) {
        if !self.tell(LATE) {
            self.abort();
        }
    }

    /// The answer to a head that is late; `None` if there is none, or another answer is on its way.
    fn lateness(&self) -> Option<Bytes> {
        let in_head = self.head_since.load(Relaxed) > 0 && !self.answering.load(Relaxed);
        if self.told.load(Relaxed) != LATE || !in_head {
            return None;
        }
        self.worker.counters.answered(StatusCode::REQUEST_TIMEOUT);
        Some(unread::late())
    }

    /// Looks again at a client that has ended its side for so long that it is taken to be gone.
    pub(crate) fn look_after(&self, now: u32) {
        if self.ended_age(now) > HALF_OPEN {
            self.waker.wake();
        }
    }

    /// How many ticks ago the client ended its side.
    fn ended_age(&self, now: u32) -> u32 {
        match self.ended_since.load(Relaxed) {
            0 => 0,
            since => (now + 1).saturating_sub(since),
        }
    }

    /// A client that ended its side takes what it is sent, so that it is not gone.
    fn took(&self) {
        if self.ended_since.load(Relaxed) > 0 {
            self.ended_since.store(self.worker.now() + 1, Relaxed);
        }
    }

    /// Whether a client that ended its side is waited for, because it may wait for an answer.
    fn is_waited_for(&self) -> bool {
        let now = self.worker.now();
        let _ = self.ended_since.compare_exchange(0, now + 1, Relaxed, Relaxed);
        self.in_flight.load(Relaxed) > 0 && self.ended_age(now) <= HALF_OPEN
    }

    /// Ends the connection now.
    pub(crate) fn abort(&self) {
        let _ = self.tell(ABORT);
    }

    /// How many ticks it has waited for the rest of a head.
    pub(crate) fn head_age(&self, now: u32) -> Option<u32> {
        let since = self.head_since.load(Relaxed);
        (since > 0 && self.in_flight.load(Relaxed) == 0).then(|| (now + 1).saturating_sub(since))
    }

    /// How many ticks it has been without a request.
    pub(crate) fn idle_age(&self, now: u32) -> Option<u32> {
        let idle = self.in_flight.load(Relaxed) == 0;
        idle.then(|| now.saturating_sub(self.quiet_since.load(Relaxed)))
    }

    fn bytes_came(&self) {
        if self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.worker.now() + 1, Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.connection_ended();
    }
}

/// The client's address, without its port.
fn address_value(peer: SocketAddr) -> HeaderValue {
    let address = peer.ip().to_canonical().to_string();
    HeaderValue::try_from(address).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
