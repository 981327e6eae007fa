//! A copy of an answer on its way to a client, which is kept if it comes to its end.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use http_body::Frame;

use super::{
    entry::Draft,
    flights::Lead,
    store::{Room, Store},
};
use crate::tee::Copying;

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

impl Copy {
    /// Whether there is room for more.
    fn append(&mut self, bytes: &Bytes) -> bool {
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
}

impl Copying for Box<Copy> {
    fn take(&mut self, frame: &Frame<Bytes>) -> bool {
        // What ends with trailers is a stream, which nobody else gets in the same way.
        let Some(bytes) = frame.data_ref() else { return false };
        let fits = self.append(bytes);
        if !fits {
            self.draft.zone.left_out.fetch_add(1, Relaxed);
        }
        fits
    }

    fn ended(self) {
        let Copy { store, hash, draft, mut came, room, changes, lead, .. } = *self;
        came.shrink_to_fit();
        store.put(hash, draft.entry(came.into()), Some(room), changes);
        // Only now do they look for it.
        drop(lead);
    }
}
