//! A request until its answer has ended.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use madang_calls::{Body, BoxError};

use super::Connection;

/// A request whose answer has not ended.
pub(crate) struct InFlight(Arc<Connection>);

/// The body of an answer, which ends the request when it is dropped.
pub(crate) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn begin(connection: &Arc<Connection>) -> Self {
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
