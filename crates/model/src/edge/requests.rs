//! Where requests go besides, and as what.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{ServiceName, format_duration};

/// What a service is asked for in place of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathEdit {
    /// Taken off the beginning, in whole segments, where it is there; `/api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip: Option<String>,
    /// Put before what is left; `/v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<String>,
}

/// By what a client gets the same of several targets again, for as long as their weights let it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sticky {
    /// Its address; of IPv6 its /64.
    Address,
    /// The value of a header, whose name is in lower case; by its address without one.
    Header(String),
    /// A cookie, which it is given.
    Cookie {
        /// Its name.
        name: String,
        /// How long the client keeps it; as long as it runs if absent.
        #[serde(serialize_with = "as_time", skip_serializing_if = "Option::is_none")]
        max_age: Option<Duration>,
    },
}

fn as_time<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&time.map(format_duration).unwrap_or_default())
}

/// Who gets a copy of requests, whose answers nobody sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// The service.
    pub to: ServiceName,
    /// How many requests are copied, in percent.
    pub percent: u8,
    /// The methods of those that are: safe ones, unless it is said otherwise.
    pub methods: Vec<String>,
    /// The largest body that is copied, in bytes.
    #[serde(serialize_with = "super::as_size")]
    pub max_body: u64,
    /// How many copies are under way at once; others are left out.
    pub at_once: u32,
}

impl Mirror {
    /// The methods unless it is said otherwise: what asks for them asks for no effect (RFC 9110, section 9.2.1).
    pub const METHODS: [&str; 2] = ["GET", "HEAD"];
    /// The largest body unless it is said otherwise, in bytes.
    pub(crate) const MAX_BODY: u64 = 64 << 10;
    /// How many at once unless it is said otherwise.
    pub const AT_ONCE: u32 = 32;
}
