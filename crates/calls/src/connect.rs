//! New connections to an instance.

use std::{io, sync::Arc};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use crate::{
    Body, BoxError,
    early::Early,
    elsewhere::Refusal,
    endpoint::{Endpoint, Slot},
    exchange::Exchange,
    pool::{Connection, Pool},
    tls::Tls,
};

/// Frees streams of an HTTP/2 connection more often than its default window of 64 KiB would allow.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A new HTTP/1.1 connection. Its task holds the slot until it ends.
pub(crate) async fn connect_http1(
    exchange: &Exchange,
    endpoint: &Arc<Endpoint>,
    slot: Slot,
) -> Result<Connection, BoxError> {
    match tls_of(endpoint) {
        None => http1_over(dial(exchange, endpoint, tcp(endpoint)).await?, endpoint, slot).await,
        // Boxed, since few calls have one and all would have the room for it.
        Some(_) => http1_over(dial(exchange, endpoint, Box::pin(tls(endpoint))).await?, endpoint, slot).await,
    }
}

async fn http1_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    endpoint: &Arc<Endpoint>,
    slot: Slot,
) -> Result<Connection, BoxError> {
    let stream = TokioIo::new(Early::new(stream));
    // Copying a head and a small body together costs less than a vectored write (measured: 0.5 µs a request).
    let (sender, connection) = http1::Builder::new().writev(false).handshake::<_, Body>(stream).await?;
    let task = tokio::spawn(async move {
        // How it ended is told to whoever waits for an answer.
        let _ = connection.with_upgrades().await;
        drop(slot);
    });
    Ok(Connection { sender, endpoint: endpoint.clone(), task: task.abort_handle() })
}

/// The shared HTTP/2 connection of an endpoint, made anew unless another call has just made it.
pub(crate) async fn connect_http2(
    exchange: &Exchange,
    endpoint: &Arc<Endpoint>,
) -> Result<http2::SendRequest<Body>, BoxError> {
    let worker = &exchange.worker;
    // To wait for another call that tries to connect is to try.
    exchange.connect_due();
    // Only calls that need a new connection meet here, and all of them need the same one.
    let _dialling = endpoint.dialling.lock().await;
    if let Some(sender) = worker.pool.shared(endpoint) {
        return Ok(sender);
    }
    let sender = match tls_of(endpoint) {
        None => http2_over(dial(exchange, endpoint, tcp(endpoint)).await?).await?,
        Some(_) => http2_over(dial(exchange, endpoint, Box::pin(tls(endpoint))).await?).await?,
    };
    Pool::share(worker, endpoint, sender.clone());
    Ok(sender)
}

async fn http2_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<http2::SendRequest<Body>, BoxError> {
    let stream = TokioIo::new(stream);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Body>(stream)
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Says that the instance is there, and lets those go on who waited because it was not.
pub(crate) fn reached(exchange: &Exchange, endpoint: &Endpoint) {
    if endpoint.reached() {
        exchange.upstream().changed.notify_waiters();
    }
}

fn tls_of(endpoint: &Endpoint) -> Option<&Tls> {
    endpoint.elsewhere.as_ref()?.tls.as_ref()
}

async fn tcp(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(endpoint.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn tls(endpoint: &Endpoint) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let stream = tcp(endpoint).await?;
    match tls_of(endpoint) {
        Some(tls) => tls.connect(stream, endpoint.protocol.is_http2()).await,
        None => Err(io::Error::other("the instance is not spoken to over TLS")),
    }
}

/// Connects as long as there is time to: half of what is left if another instance could be tried in the rest.
async fn dial<S>(
    exchange: &Exchange,
    endpoint: &Endpoint,
    connecting: impl Future<Output = io::Result<S>>,
) -> Result<S, BoxError> {
    let (now, due) = (Instant::now(), exchange.connect_due());
    let another = exchange.policy.attempts > 1 && exchange.upstream().has_other(endpoint.number, now);
    let due = if another { now + due.saturating_duration_since(now) / 2 } else { due };
    let patience = exchange.worker.timer.sleep_until(due);
    let dialled = tokio::select! {
        dialled = connecting => dialled,
        () = patience => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
    };
    match dialled {
        Ok(stream) => {
            exchange.trail.connected();
            reached(exchange, endpoint);
            if endpoint.elsewhere.is_some() {
                exchange.upstream().tried_elsewhere(None);
            }
            Ok(stream)
        }
        Err(error) => {
            endpoint.refused(Instant::now());
            if endpoint.elsewhere.is_none() {
                return Err(error.into());
            }
            // That the rest of the time was too short for another attempt says less than how the first ones ended.
            let said = exchange.trail.refused(error.kind() == io::ErrorKind::TimedOut);
            if let Some(why) = said.then(|| exchange.upstream().refusal()).flatten() {
                return Err(Refusal(why).into());
            }
            let refusal = Refusal(error.to_string());
            exchange.upstream().tried_elsewhere(Some(refusal.clone()));
            Err(refusal.into())
        }
    }
}
