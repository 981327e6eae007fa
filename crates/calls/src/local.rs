//! A service hosted in this process, called so that nobody can tell.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;
use tower::{ServiceExt, util::BoxCloneSyncService};

use crate::{Body, BoxError, CallError, exchange::Exchange};

/// A service hosted in this process.
pub type LocalService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A service hosted in this process.
pub(crate) struct Local(LocalService);

/// A task that is aborted when its caller goes.
struct Task<T>(JoinHandle<T>);

/// A body whose panic is an error of the stream, as a broken connection would be.
struct Guarded(Option<Body>);

#[derive(Debug, thiserror::Error)]
#[error("the service panicked while its answer streamed")]
struct Panicked;

// === impl Local ===

impl Local {
    pub(crate) fn new(service: LocalService) -> Self {
        Self(service)
    }

    /// Calls it in a task of its own, because its panic, its blocking and its cancellation are its own.
    pub(crate) async fn send(
        self: Arc<Self>,
        exchange: &Exchange,
        request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        let service = self.0.clone();
        let mut task = Task(tokio::spawn(service.oneshot(request)));
        let answered = (&mut task.0).await;
        let name = || exchange.upstream().name().clone();
        match answered {
            Ok(Ok(response)) => Ok(guard(response)),
            Err(error) if error.is_panic() => {
                let service = name();
                let panic = message(error.into_panic());
                tracing::error!(%service, panic, "service panicked while answering");
                Err(CallError::Panic { service })
            }
            Err(error) => Err(CallError::Broken { service: name(), source: error.into() }),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn guard(response: Response<Body>) -> Response<Body> {
    let (mut head, mut body) = response.into_parts();
    head.extensions.clear();
    let body = match body.take_whole() {
        Some(bytes) => bytes.into(),
        None => Body::new(Guarded(Some(body))),
    };
    Response::from_parts(head, body)
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
    }
}

// === impl Guarded ===

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        // The body is dropped after a panic, so that nobody sees what it left behind.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        polled.unwrap_or_else(|_| {
            self.0 = None;
            Poll::Ready(Some(Err(Panicked.into())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}
