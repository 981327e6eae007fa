//! The least that a proxy made of hyper does: one thread, its own upstream connections, and nothing else. What a
//! gateway costs beyond it is what the gateway adds.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use http::{Request, Response, Uri};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::SendRequest,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tracing::subscriber::NoSubscriber;

/// Options of the bare proxy.
#[derive(Args)]
pub struct Options {
    /// Where it takes HTTP/1.1.
    #[arg(long)]
    http1: SocketAddr,
    /// Where it takes HTTP/2 by prior knowledge.
    #[arg(long)]
    http2: SocketAddr,
    /// Where requests go.
    #[arg(long)]
    upstream: SocketAddr,
}

/// The free connections to the upstream.
struct Pool {
    upstream: SocketAddr,
    free: Mutex<Vec<SendRequest<Incoming>>>,
}

/// An answer's body, which frees its connection when it ends.
struct Passing {
    body: Incoming,
    connection: Option<SendRequest<Incoming>>,
    pool: Arc<Pool>,
}

/// Runs until it is killed.
pub fn run(options: &Options) -> Result<()> {
    // As in a program that logs anything: where nobody listens, h2 writes each of its spans as text for another logger.
    tracing::subscriber::set_global_default(NoSubscriber::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let pool = Arc::new(Pool { upstream: options.upstream, free: Mutex::default() });
        let (one, two) = (TcpListener::bind(options.http1).await?, TcpListener::bind(options.http2).await?);
        loop {
            let ((stream, _), is_http2) = tokio::select! {
                accepted = one.accept() => (accepted?, false),
                accepted = two.accept() => (accepted?, true),
            };
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, is_http2, pool.clone()));
        }
    })
}

async fn serve(stream: TcpStream, is_http2: bool, pool: Arc<Pool>) {
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| pass(request, pool.clone()));
    let served = if is_http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
    drop(served);
}

async fn pass(mut request: Request<Incoming>, pool: Arc<Pool>) -> Result<Response<Passing>> {
    if let Some(target) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(target);
    }
    *request.version_mut() = http::Version::HTTP_11;
    let mut connection = pool.take().await?;
    let response = connection.send_request(request).await?;
    Ok(response.map(|body| Passing { body, connection: Some(connection), pool }))
}

impl Pool {
    async fn take(&self) -> Result<SendRequest<Incoming>> {
        while let Some(mut free) = self.pop() {
            if free.ready().await.is_ok() {
                return Ok(free);
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn pop(&self) -> Option<SendRequest<Incoming>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
