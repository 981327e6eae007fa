//! A body of which a copy is taken on its way.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use madang_calls::{Body, BoxError};

/// What becomes of a copy.
pub(crate) trait Copying {
    /// Takes a part of the body; says whether it still wants the rest.
    fn take(&mut self, frame: &Frame<Bytes>) -> bool;
    /// The body has come to its end. One that breaks off has none.
    fn ended(self);
}

/// See the module.
struct Tee<C> {
    body: Body,
    copy: Option<C>,
}

/// The body to send on.
pub(crate) fn tee(body: Body, copy: impl Copying + Unpin + Send + 'static) -> Body {
    if body.is_end_stream() {
        copy.ended();
        return body;
    }
    Body::new(Tee { body, copy: Some(copy) })
}

impl<C: Copying> Tee<C> {
    fn ended(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.ended();
        }
    }
}

impl<C: Copying + Unpin> http_body::Body for Tee<C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if self.copy.as_mut().is_some_and(|copy| !copy.take(frame)) {
                    self.copy = None;
                }
                if self.body.is_end_stream() {
                    self.ended();
                }
            }
            None => self.ended(),
            Some(Err(_)) => self.copy = None,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
