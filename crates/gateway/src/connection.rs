//! One connection, from its first byte to its last.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::{Body, BoxError};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::{
    auth::guard::Visitor,
    edge,
    inspect::Sender,
    tls::{self, peer::Peer, proof::ACME, reach::Reach},
    unread,
    worker::{Port, Worker},
};

/// How an HTTP/2 connection starts when the client knows that the server speaks it (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most that is written in one piece, in bytes.
const SMALL: usize = 1024;

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

/// What a connection over TLS is known to be.
struct Secure {
    /// Whoever has shown a certificate that is taken.
    peer: Option<Peer>,
    /// Which hosts it is good for; any if absent.
    reach: Option<Reach>,
}

/// A connection that is about to agree on TLS.
pub(crate) struct Handshake {
    connection: Arc<Connection>,
    shown: Arc<tls::Shown>,
    agreed: bool,
}

/// The servers for both protocols, set up once per worker.
pub(crate) struct Protocols {
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
}

/// A request whose answer has not ended.
pub(crate) struct InFlight(Arc<Connection>);

/// The body of an answer, which ends the request when it is dropped.
pub(crate) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

/// A stream with the bytes that were read off it to see what it speaks.
struct Sniffed<S> {
    first: Bytes,
    stream: S,
    /// Whose heads are timed. An HTTP/2 connection has frames of its own between requests; it is only idle.
    heads: Option<Arc<Connection>>,
    /// What is left of the answer to a head that could not be read.
    unread: Option<Bytes>,
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

    /// Over TLS the protocol is agreed on by it, and by nothing else (RFC 9113, section 3.2).
    async fn serve_over_tls(
        self: &Arc<Self>,
        mut stream: TcpStream,
        hands: Handshake,
        protocols: &Protocols,
    ) -> Result<(), BoxError> {
        // A handshake has the time of a head; a connection that is told to finish before it has a request ends.
        self.bytes_came();
        let acceptor = TlsAcceptor::from(hands.shown.config.clone());
        let shaking = async {
            if !tls::speaks_tls(&stream).await? {
                self.worker.counters.answered(StatusCode::BAD_REQUEST);
                tokio::io::AsyncWriteExt::write_all(&mut stream, &unread::plain()).await?;
                return Ok(None);
            }
            acceptor.accept(stream).await.map(Some)
        };
        let shaken = self.until_told(shaking, |_| self.abort()).await;
        let is_late = self.told.load(Relaxed) == LATE;
        let mut stream = match shaken {
            Some(Ok(Some(stream))) if !is_late => stream,
            Some(Err(error)) => return Err(error.into()),
            _ => return Ok(()),
        };
        let session = stream.get_ref().1;
        let reach = hands.shown.reach(session.server_name());
        hands.shaken();
        if session.alpn_protocol() == Some(ACME) {
            // It has seen what it wanted to (RFC 8737, section 3).
            return Ok(tokio::io::AsyncWriteExt::shutdown(&mut stream).await?);
        }
        let is_http2 = session.alpn_protocol() == Some(tls::HTTP2);
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let _ = self.secure.set(Secure { peer: certificate.and_then(Peer::of), reach });
        self.head_since.store(0, Relaxed);
        self.speak(Sniffed { first: Bytes::new(), stream, heads: None, unread: None }, is_http2, protocols)
            .await
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

    /// Begins to agree on TLS.
    pub(crate) fn shake_hands(self: &Arc<Self>, shown: Arc<tls::Shown>) -> Handshake {
        self.shakes_hands.store(true, Relaxed);
        self.worker.handshake_begins();
        Handshake { connection: self.clone(), shown, agreed: false }
    }

    /// Ends a handshake that is under way, to make room for others. Whether it was.
    pub(crate) fn give_way(&self) -> bool {
        let gives_way = self.hands_are_free();
        if gives_way {
            self.abort();
        }
        gives_way
    }

    /// From now on it carries bytes.
    pub(crate) fn is_now_a_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Counts a handshake out, once; whether it was one.
    fn hands_are_free(&self) -> bool {
        let was = self.shakes_hands.swap(false, Relaxed);
        if was {
            self.worker.handshake_ended();
        }
        was
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

// === impl Handshake ===

impl Handshake {
    /// They have agreed.
    fn shaken(mut self) {
        self.agreed = true;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.connection.hands_are_free();
        self.connection.worker.counters.shaken(self.agreed);
    }
}

// === impl InFlight ===

impl InFlight {
    fn begin(connection: &Arc<Connection>) -> Self {
        connection.in_flight.fetch_add(1, Relaxed);
        connection.head_since.store(0, Relaxed);
        connection.answering.store(true, Relaxed);
        Self(connection.clone())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0
    }

    /// One more on the same connection.
    pub(crate) fn another(&self) -> Self {
        Self::begin(&self.0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.head_since.store(0, Relaxed);
        self.0.quiet_since.store(self.0.worker.now(), Relaxed);
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

// === impl AnswerBody ===

impl AnswerBody {
    pub(crate) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Sniffed ===

/// Whose heads are timed, as long as there are heads.
fn reads_heads(heads: &Option<Arc<Connection>>) -> Option<&Arc<Connection>> {
    heads.as_ref().filter(|connection| !connection.tunnel.load(Relaxed))
}

impl<S: AsyncWrite + Unpin> Sniffed<S> {
    /// Sends a problem in place of what hyper writes although no answer is on its way: a bare refusal of a head.
    /// `None` if it writes an answer.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, bare: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let connection = reads_heads(&self.heads)?;
        if connection.answering.load(Relaxed) {
            return None;
        }
        let left = self.unread.get_or_insert_with(|| {
            let (status, answer) = unread::answer(bare);
            connection.worker.counters.answered(status);
            answer
        });
        while !left.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => left.advance(written),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(bare.len())))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(into.remaining());
            into.put_slice(&self.first[..count]);
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        let Some(connection) = reads_heads(&self.heads) else { return polled };
        if into.filled().len() > before {
            connection.bytes_came();
        } else if matches!(polled, Poll::Ready(Ok(()))) && into.remaining() > 0 && connection.is_waited_for()
        {
            // What comes next is told by the end of the answer, or by the worker, which looks after it.
            return Poll::Pending;
        } else if let Some(answer) = connection.lateness() {
            // Nothing is on its way to this client, so that there is room for all of it.
            let _ = Pin::new(&mut self.stream).poll_write(cx, &answer);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refused) = self.poll_refuse(cx, bytes) {
            return refused;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(refused) = self.poll_refuse(cx, parts.first().map_or(&[], |part| part)) {
            return refused;
        }
        if let [whole] = parts {
            return Pin::new(&mut self.stream).poll_write(cx, whole);
        }
        // Copying a head and a small body together costs less than a vectored write.
        let mut whole = [0; SMALL];
        let mut filled = 0;
        for part in parts {
            let Some(room) = whole.get_mut(filled..filled + part.len()) else {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
            };
            room.copy_from_slice(part);
            filled += part.len();
        }
        Pin::new(&mut self.stream).poll_write(cx, &whole[..filled])
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // Hyper flushes once it has nothing more to write: what has been answered is out.
        if flushed.is_ready()
            && let Some(connection) = &self.heads
        {
            if connection.in_flight.load(Relaxed) == 0 {
                connection.answering.store(false, Relaxed);
            }
            connection.took();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
