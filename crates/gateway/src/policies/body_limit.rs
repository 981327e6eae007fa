//! The largest body of a request: one that says that it is larger is refused at once, one that turns out to be ends there.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::{Body as _, Frame, SizeHint};
use madang_calls::{Body, BoxError, TooLarge};

/// Whether a request says of itself that its body is larger.
pub(crate) fn says_more(headers: &HeaderMap, limit: u64) -> bool {
    // Hyper has read it: there is one, and it is a number.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > limit)
}

/// A body that ends with an error when it is larger.
pub(crate) struct Limited {
    body: Body,
    limit: u64,
    left: u64,
}

impl Limited {
    /// The body within the limit.
    pub(crate) fn within(limit: u64, body: Body) -> Body {
        // What states its length was looked at before, and hyper holds it to that.
        if body.size_hint().exact().is_some_and(|size| size <= limit) {
            return body;
        }
        Body::new(Self { body, limit, left: limit })
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(bytes) = frame.data_ref()
        {
            match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(TooLarge { limit: self.limit }.into()))),
            }
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
