//! The end of the stack: a request goes over a connection, or to the service in this process.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::Instant;
use tower::Service;

use crate::{
    Body, BoxError, CallError,
    connect::{connect_http1, connect_http2, reached},
    endpoint::Endpoint,
    exchange::{Call, Exchange, Target},
    pool::{Connection, Lease},
    tunnel::{self, Tunnel},
};

/// A request as it goes out.
pub(crate) struct Outgoing {
    pub(crate) call: Call,
    pub(crate) request: Request<Body>,
}

/// Sends requests to where they go.
pub(crate) fn service() -> Transport {
    Transport
}

/// See [`service`].
#[derive(Clone, Copy)]
pub(crate) struct Transport;

/// The future of [`Transport`].
type Exchanging = Pin<Box<dyn Future<Output = Result<Response<Body>, CallError>> + Send>>;

/// A failure before anything of a request was sent.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("as many connections as are allowed are in use, and as many calls wait for one")]
    Saturated,
    #[error("no connection was free in time")]
    Busy,
    #[error("the connection closed before the request was sent")]
    Closed(#[source] hyper::Error),
    #[error("the instance refused the stream")]
    Refused(#[source] hyper::Error),
}

impl Service<Outgoing> for Transport {
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Exchanging;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Outgoing { call, request }: Outgoing) -> Self::Future {
        let Call { exchange, fresh, target, began, .. } = call;
        match target {
            Some(Target::Local(local)) => Box::pin(async move { local.send(&exchange, request).await }),
            Some(Target::Remote(endpoint)) if exchange.over_http2(&endpoint) => {
                Box::pin(http2(exchange, endpoint, request, fresh))
            }
            Some(Target::Remote(endpoint)) => http1(exchange, endpoint, request, fresh, began),
            None => Box::pin(std::future::ready(Err(CallError::NoInstance {
                service: exchange.upstream().name().clone(),
                retry_after: crate::park::RETRY_AFTER,
            }))),
        }
    }
}

/// Over an idle connection if there is one. The request is then on its way before there is a future, which is
/// small for not having to hold it.
fn http1(
    exchange: Arc<Exchange>,
    endpoint: Arc<Endpoint>,
    request: Request<Body>,
    fresh: bool,
    began: Instant,
) -> Exchanging {
    let idle = exchange.worker.pool.take(&endpoint, began).filter(|_| !fresh);
    let Some(mut connection) = idle else {
        return Box::pin(http1_patiently(exchange, endpoint, request, fresh, began));
    };
    exchange.trail.sends(true);
    let answer = connection.sender.try_send_request(request);
    Box::pin(async move {
        match answer.await {
            Ok(response) => leased(exchange, connection, response),
            Err(failure) => {
                let request = unsent(&exchange, failure, true)?;
                Box::pin(http1_patiently(exchange, endpoint, request, fresh, began)).await
            }
        }
    })
}

/// Over any connection that there is or will be.
async fn http1_patiently(
    exchange: Arc<Exchange>,
    endpoint: Arc<Endpoint>,
    mut request: Request<Body>,
    fresh: bool,
    began: Instant,
) -> Result<Response<Body>, CallError> {
    loop {
        let (mut connection, reused) = acquire(&exchange, &endpoint, fresh, began).await?;
        exchange.trail.sends(reused);
        match connection.sender.try_send_request(request).await {
            Ok(response) => return leased(exchange, connection, response),
            Err(failure) => request = unsent(&exchange, failure, reused)?,
        }
    }
}

fn leased(
    exchange: Arc<Exchange>,
    connection: Connection,
    response: Response<Incoming>,
) -> Result<Response<Body>, CallError> {
    answers(&exchange, &connection.endpoint);
    if tunnel::switches(&response) {
        return Tunnel::carried_by(response, connection, &exchange);
    }
    Ok(response.map(|body| Body::leased(body, Lease { connection, exchange })))
}

async fn http2(
    exchange: Arc<Exchange>,
    endpoint: Arc<Endpoint>,
    mut request: Request<Body>,
    mut fresh: bool,
) -> Result<Response<Body>, CallError> {
    loop {
        let pooled = if fresh { None } else { exchange.worker.pool.shared(&endpoint) };
        let reused = pooled.is_some();
        exchange.trail.sends(reused);
        let mut sender = match pooled {
            Some(sender) => sender,
            None => connect_http2(&exchange, &endpoint).await.map_err(|error| connect(&exchange, error))?,
        };
        match sender.try_send_request(request).await {
            Ok(response) => {
                answers(&exchange, &endpoint);
                return Ok(response.map(Body::incoming));
            }
            Err(failure) => {
                request = unsent(&exchange, failure, reused)?;
                // Once is enough: a connection that is shared stays where it was found.
                fresh = true;
            }
        }
    }
}

fn answers(exchange: &Exchange, endpoint: &Arc<Endpoint>) {
    reached(exchange, endpoint);
    exchange.trail.answers(endpoint);
}

/// The request, if it never went out and had only met a connection that had gone stale.
fn unsent(
    exchange: &Exchange,
    mut failure: TrySendError<Request<Body>>,
    reused: bool,
) -> Result<Request<Body>, CallError> {
    match failure.take_message() {
        Some(request) if reused => Ok(request),
        Some(_) => Err(connect(exchange, Unsent::Closed(failure.into_error()).into())),
        None => {
            let error = failure.into_error();
            if refused(&error) {
                return Err(connect(exchange, Unsent::Refused(error).into()));
            }
            let (service, source) = (exchange.upstream().name().clone(), error.into());
            // Without the end of its body the request was given up, whoever closed the connection in the end.
            Err(match (exchange.upload.too_large(), exchange.upload.failed()) {
                (Some(source), _) => CallError::TooLarge { service, source },
                (None, true) => CallError::Upload { service, source },
                (None, false) => CallError::Broken { service, source },
            })
        }
    }
}

/// Whether HTTP/2 says that nothing of the request was processed (RFC 9113, section 8.7).
fn refused(error: &hyper::Error) -> bool {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|error| error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Whether the other side reset the stream, over a connection that goes on.
pub(crate) fn is_reset(error: &BoxError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return h2.is_remote() && h2.is_reset();
        }
        cause = error.source();
    }
    false
}

/// Whether it failed because of how many connections are allowed here, which says nothing of the instance.
pub(crate) fn is_local_limit(source: &BoxError) -> bool {
    matches!(source.downcast_ref(), Some(Unsent::Saturated | Unsent::Busy))
}

fn connect(exchange: &Exchange, source: BoxError) -> CallError {
    CallError::Connect { service: exchange.upstream().name().clone(), source }
}

/// An HTTP/1.1 connection and whether others used it before. At the limit of connections it waits for one to
/// be free, no longer than connecting may take.
async fn acquire(
    exchange: &Arc<Exchange>,
    endpoint: &Arc<Endpoint>,
    fresh: bool,
    mut now: Instant,
) -> Result<(Connection, bool), CallError> {
    let worker = &exchange.worker;
    let limit = worker.config.connections;
    let mut waiting = None;
    let mut patience = worker.timer.sleep_until(exchange.connect_due());
    loop {
        let idle = worker.pool.take(endpoint, now).filter(|_| !fresh);
        if let Some(connection) = idle {
            exchange.trail.connected();
            return Ok((connection, true));
        }
        if let Some(slot) = endpoint.slot(limit) {
            let connection = connect_http1(exchange, endpoint, slot).await;
            return connection.map(|it| (it, false)).map_err(|error| connect(exchange, error));
        }
        if waiting.is_none() {
            // Counted first, then looked again, so that no connection becomes free unnoticed in between.
            let counted = endpoint.wait_for_slot(limit);
            waiting = Some(counted.ok_or_else(|| connect(exchange, Unsent::Saturated.into()))?);
            continue;
        }
        tokio::select! {
            () = endpoint.freed.notified() => {}
            () = &mut patience => return Err(connect(exchange, Unsent::Busy.into())),
        }
        now = Instant::now();
    }
}
