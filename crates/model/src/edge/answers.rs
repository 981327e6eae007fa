//! What becomes of answers.

use std::{collections::BTreeSet, time::Duration};

use serde::{Serialize, Serializer};

use crate::format_duration;

/// Whose pages may read answers, and what they may ask for (Fetch Standard, "CORS protocol").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// The origins of those pages.
    pub origins: Origins,
    /// The methods that they may use; those of the request asked about if empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// The headers that they may send, in lower case; those that are asked about if empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub headers: BTreeSet<String>,
    /// The headers of answers that they may read.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub expose: BTreeSet<String>,
    /// Whether they may send cookies and read what is answered then.
    pub credentials: bool,
    /// How long a browser remembers what it may.
    #[serde(serialize_with = "as_time")]
    pub max_age: Duration,
}

fn as_time<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_duration(*time))
}

/// The origins of pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Origins {
    /// Everybody's; never with credentials.
    Any(AnyOrigin),
    /// These, such as `https://shop.example`.
    These(BTreeSet<String>),
}

/// Written `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyOrigin;

impl Serialize for AnyOrigin {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("*")
    }
}

impl Cors {
    /// How long a browser remembers unless it is said otherwise.
    pub const MAX_AGE: Duration = Duration::from_secs(600);
}

/// Which answers are compressed, for clients that take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compress {
    /// How, the best first.
    pub with: Vec<Coding>,
    /// Media types, as `text/*` and `application/json`.
    pub types: Vec<String>,
    /// The least length that is worth it, in bytes; an answer of unknown length is.
    #[serde(serialize_with = "super::as_size")]
    pub min: u64,
    /// Whether also where a request or its answer carries a cookie or a credential. What somebody else chose beside a
    /// secret can then be used to guess the secret by the length (BREACH).
    pub beside_secrets: bool,
}

/// A way to compress (RFC 9110, section 8.4.1; RFC 7932; RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Zstandard.
    Zstd,
    /// Brotli.
    Br,
    /// Gzip.
    Gzip,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// Its name in `Accept-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

impl Default for Compress {
    fn default() -> Self {
        Self {
            with: Coding::ALL.into(),
            types: Self::TYPES.map(str::to_owned).into(),
            min: 1024,
            beside_secrets: false,
        }
    }
}

impl Compress {
    /// What is text, and not compressed in itself.
    pub(crate) const TYPES: [&str; 8] = [
        "text/*",
        "application/json",
        "application/problem+json",
        "application/javascript",
        "application/xml",
        "application/manifest+json",
        "application/wasm",
        "image/svg+xml",
    ];
}

/// Which answers of services are made into problems (RFC 9457). The status stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// Their statuses; all from 400 on if empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub statuses: BTreeSet<u16>,
    /// Whether a short text that the service answered is told.
    pub detail: bool,
}

impl Problems {
    /// Whether an answer of this status is made into one.
    pub fn is_for(&self, status: u16) -> bool {
        status >= 400 && (self.statuses.is_empty() || self.statuses.contains(&status))
    }
}
