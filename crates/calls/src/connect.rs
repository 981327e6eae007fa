//! New connections to an instance.

use std::{io, sync::Arc};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    Body, BoxError,
    endpoint::{Endpoint, Slot},
    exchange::Exchange,
    pool::{Connection, Pool},
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
    let stream = TokioIo::new(dial(exchange, endpoint).await?);
    // Copying a head and a small body together costs less than a vectored write (measured: 0.5 µs a request).
    let (sender, connection) = http1::Builder::new().writev(false).handshake::<_, Body>(stream).await?;
    let task = tokio::spawn(async move {
        // How it ended is told to whoever waits for an answer.
        let _ = connection.await;
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
    let stream = TokioIo::new(dial(exchange, endpoint).await?);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Body>(stream)
        .await?;
    tokio::spawn(connection);
    Pool::share(worker, endpoint, sender.clone());
    Ok(sender)
}

/// Says that the instance is there, and lets those go on who waited because it was not.
pub(crate) fn reached(exchange: &Exchange, endpoint: &Endpoint) {
    if endpoint.reached() {
        exchange.upstream().changed.notify_waiters();
    }
}

async fn dial(exchange: &Exchange, endpoint: &Endpoint) -> io::Result<TcpStream> {
    let patience = exchange.worker.timer.sleep_until(exchange.connect_due());
    let dialled = tokio::select! {
        dialled = TcpStream::connect(endpoint.address) => dialled,
        () = patience => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
    };
    match dialled.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
        Ok(stream) => {
            exchange.trail.connected();
            reached(exchange, endpoint);
            Ok(stream)
        }
        Err(error) => {
            endpoint.refused(Instant::now());
            Err(error)
        }
    }
}
