//! A body on its way to a client, of which a copy is kept if it comes to its end.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use madang_calls::{Body, BoxError};

use super::{
    entry::Draft,
    flights::Lead,
    store::{Room, Store},
};

/// See the module.
pub(super) struct Fill {
    body: Body,
    copy: Option<Box<Copy>>,
}

/// What will be kept.
pub(super) struct Copy {
    pub(super) store: Arc<Store>,
    pub(super) hash: u64,
    pub(super) draft: Draft,
    pub(super) came: Vec<u8>,
    pub(super) room: Room,
    pub(super) most: u64,
    /// How often something near it had become invalid when it was asked for.
    pub(super) changes: u64,
    /// Who waits for it.
    pub(super) lead: Option<Lead>,
}

// === impl Fill ===

impl Fill {
    pub(super) fn of(body: Body, copy: Box<Copy>) -> Body {
        if body.is_end_stream() {
            copy.ended();
            return body;
        }
        Body::new(Self { body, copy: Some(copy) })
    }

    fn take(&mut self, frame: &Frame<Bytes>) {
        let Some(copy) = &mut self.copy else { return };
        // What ends with trailers is a stream, which nobody else gets in the same way.
        let Some(bytes) = frame.data_ref() else {
            self.copy = None;
            return;
        };
        if !copy.take(bytes) {
            copy.draft.zone.left_out.fetch_add(1, Relaxed);
            self.copy = None;
        }
    }

    fn ended(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.ended();
        }
    }
}

impl Copy {
    /// Whether there is room for more.
    fn take(&mut self, bytes: &Bytes) -> bool {
        let (length, before) = (self.came.len() + bytes.len(), self.came.capacity());
        if length as u64 > self.most {
            return false;
        }
        if length > before {
            // All that is allocated counts.
            let wanted = length.max(2 * before).min(usize::try_from(self.most).unwrap_or(usize::MAX));
            if !self.room.grow_to(wanted) {
                return false;
            }
            self.came.reserve_exact(wanted - self.came.len());
        }
        self.came.extend_from_slice(bytes);
        true
    }

    fn ended(self) {
        let Self { store, hash, draft, mut came, room, changes, lead, .. } = self;
        came.shrink_to_fit();
        store.put(hash, draft.entry(came.into()), Some(room), changes);
        // Only now do they look for it.
        drop(lead);
    }
}

impl http_body::Body for Fill {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                self.take(frame);
                if self.body.is_end_stream() {
                    self.ended();
                }
            }
            None => self.ended(),
            // What broke off is no answer.
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
