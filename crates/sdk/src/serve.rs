//! The listener of a process: HTTP/1.1 and HTTP/2 without TLS on one port.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use madang_calls::Body;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::host::Host;

/// How long an idle connection is kept: longer than callers keep theirs, so that it is they who close it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How many connections are open at once; the others wait in the listener's queue.
const CONNECTIONS: usize = 4096;
/// How many requests one HTTP/2 connection may have under way.
const STREAMS: u32 = 256;
/// How long to pause when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves connections until told to stop; then waits for the requests under way.
pub(crate) async fn serve(listener: TcpListener, host: Host, stopping: CancellationToken) {
    let mut server = Builder::new(TokioExecutor::new());
    // In hyper this limits the wait for the next request too.
    server.http1().timer(TokioTimer::new()).header_read_timeout(KEEP_ALIVE);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).max_concurrent_streams(STREAMS);
    let server = Arc::new(server);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            // The semaphore is never closed; if it were, the slot would not be needed.
            let slot = slots.clone().acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(server.clone(), stream, host.clone(), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    server: Arc<Builder<TokioExecutor>>,
    stream: TcpStream,
    host: Host,
    stopping: CancellationToken,
) {
    // Small answers must not wait for an acknowledgement; without the option they are only slower.
    let _ = stream.set_nodelay(true);
    // Until its first byte a connection has no protocol, hence none of the time limits above.
    let spoke = tokio::time::timeout(KEEP_ALIVE, stream.readable());
    tokio::select! {
        () = stopping.cancelled() => return,
        spoke = spoke => if !matches!(spoke, Ok(Ok(()))) { return },
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(host.answer(request.map(Body::incoming)).await) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The usual reason is a caller that left.
        tracing::debug!(error, "connection ended early");
    }
}
