//! What a cache before a call does with its answer, which the record of the call tells.

use madang_wire::CacheUse;

/// What a cache has that called for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Renewal {
    /// The status of what it has, as the client would get it; 0 if it has nothing.
    pub status: u16,
    /// Whether the call asks if that is still good.
    pub validates: bool,
    /// Whether that is given in place of a failure (`stale-if-error`, RFC 5861, section 4).
    pub stands_in: bool,
}

impl Renewal {
    /// What is done with an answer of this status, or with a problem in place of one.
    pub fn used(self, status: u16) -> CacheUse {
        match status {
            304 if self.validates => CacheUse::Revalidated,
            500 | 502 | 503 | 504 if self.stands_in => CacheUse::Stale,
            _ => CacheUse::Miss,
        }
    }
}
