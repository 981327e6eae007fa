//! Who looks at the pages.

use sha2::{Digest, Sha256};

/// The name of the field in which a form says the secret of its session.
pub const CSRF: &str = "csrf";

/// Who looks at the pages, as whoever let them in knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// In words, as it is audited.
    pub who: String,
    /// What only pages of this session know, and every form of theirs says.
    pub csrf: String,
}

/// Whether a secret that was said is the one. Takes the same time wherever a wrong one differs, as it is hashes that
/// are compared.
pub fn same(said: &str, secret: &str) -> bool {
    Sha256::digest(said) == Sha256::digest(secret)
}
