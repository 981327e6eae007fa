//! The body of every request and response.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use crate::{limit::Permits, outcome::Attempt, pool::Lease, record::Open, upload::Sending, watch::Watch};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every request and response: whole in memory, off a connection, or anything else behind a box.
///
/// The body of an answer also carries what must last as long as it does: its connection, the attempt
/// that it answers and its time limit. They share one box beside it, so that a body is small to move.
pub struct Body {
    kind: Kind,
    held: Option<Box<Held>>,
}

/// What lasts as long as a body.
#[derive(Default)]
struct Held {
    lease: Option<Lease>,
    attempt: Option<Attempt>,
    permits: Permits,
    watch: Option<Watch>,
    /// Of an answer whose end is to be in it.
    record: Option<Open>,
}

enum Kind {
    Whole(Bytes),
    Incoming(Incoming),
    Sending(Sending),
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

// === impl Body ===

impl Body {
    /// A body of no bytes.
    pub fn empty() -> Self {
        Self::of(Kind::Whole(Bytes::new()))
    }

    /// A body off a connection.
    pub fn incoming(body: Incoming) -> Self {
        Self::of(Kind::Incoming(body))
    }

    /// A body behind a box.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::of(Kind::Boxed(body.map_err(Into::into).boxed_unsync()))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, held: None }
    }

    /// A request's body as one attempt sends it.
    pub(crate) fn sending(sending: Sending) -> Self {
        Self::of(Kind::Sending(sending))
    }

    /// An answer's body, and the connection that it comes over.
    pub(crate) fn leased(body: Incoming, lease: Lease) -> Self {
        if body.is_end_stream() {
            lease.ended();
            return Self::incoming(body);
        }
        let held = Held { lease: Some(lease), ..Held::default() };
        Self { kind: Kind::Incoming(body), held: Some(Box::new(held)) }
    }

    /// All of it, if it is in memory or empty.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        if let Kind::Whole(bytes) = &mut self.kind {
            return Some(std::mem::take(bytes));
        }
        self.is_end_stream().then(Bytes::new)
    }

    /// Whether there is anything to wait for.
    fn is_to_come(&self) -> bool {
        !matches!(self.kind, Kind::Whole(_)) && !self.is_end_stream()
    }

    /// Tells the attempt how it ends.
    pub(crate) fn hold(&mut self, mut attempt: Attempt) {
        if self.is_to_come() {
            self.held.get_or_insert_default().attempt = Some(attempt);
        } else {
            attempt.ended();
        }
    }

    /// Tells the record of its call how it ends.
    pub(crate) fn hold_record(&mut self, mut open: Open) {
        if self.is_to_come() {
            self.held.get_or_insert_default().record = Some(open);
        } else {
            open.ended();
        }
    }

    /// Keeps the permits of its call until it ends.
    pub(crate) fn hold_permits(&mut self, permits: Permits) {
        if self.is_to_come() {
            self.held.get_or_insert_default().permits = permits;
        }
    }

    /// Ends with an error when its time is over. The first watch stays: it is that of the shorter limit.
    pub(crate) fn watch(&mut self, watch: impl FnOnce() -> Watch) {
        if self.is_to_come() {
            self.held.get_or_insert_default().watch.get_or_insert_with(watch);
        }
    }

    /// Lets go of everything: it ended, which may be long before it is dropped.
    fn release(&mut self) {
        let Some(held) = self.held.take() else { return };
        if let Some(lease) = held.lease {
            lease.ended();
        }
        if let Some(mut attempt) = held.attempt {
            attempt.ended();
        }
        if let Some(mut record) = held.record {
            record.ended();
        }
    }

    /// Ends it without letting its connection be used again.
    fn abort(&mut self) {
        self.held = None;
        self.kind = Kind::Whole(Bytes::new());
    }

    fn attempt(&mut self) -> Option<&mut Attempt> {
        self.held.as_mut()?.attempt.as_mut()
    }

    fn record(&mut self) -> Option<&mut Open> {
        self.held.as_mut()?.record.as_mut()
    }

    fn watched(&mut self) -> Option<&mut Watch> {
        self.held.as_mut()?.watch.as_mut()
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Sending(body) => body.poll_frame(cx),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::of(Kind::Whole(bytes.into()))
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.poll_kind(cx) {
            Poll::Pending => {
                let expired = self.watched().and_then(|watch| watch.poll_expired(cx));
                let Some(expired) = expired else { return Poll::Pending };
                let said = self.attempt().and_then(|attempt| attempt.expired(&expired));
                self.record().into_iter().for_each(Open::expired);
                self.abort();
                Poll::Ready(Some(said.map(Frame::trailers).ok_or_else(|| expired.into())))
            }
            Poll::Ready(Some(Err(error))) => {
                let said = self.attempt().and_then(|attempt| attempt.broke(&error));
                self.record().into_iter().for_each(|record| record.broke(said.as_ref()));
                self.abort();
                Poll::Ready(Some(said.map(Frame::trailers).ok_or(error)))
            }
            Poll::Ready(None) => {
                self.release();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(watch) = self.watched() {
                    watch.progressed();
                }
                if let Some(attempt) = self.attempt() {
                    match frame.trailers_ref() {
                        Some(trailers) => attempt.trailers(trailers),
                        None => attempt.progressed(),
                    }
                }
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(record) = self.record()
                {
                    record.trailers(trailers);
                }
                if self.is_end_stream() {
                    self.release();
                } else if let Some(record) = self.record() {
                    record.progressed();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Sending(body) => body.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Sending(body) => body.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}
