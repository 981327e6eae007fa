//! What a browser keeps, sealed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Its name, which stays when its tokens change.
    pub(crate) id: String,
    pub(crate) who: Person,
    /// When it ends, and until when what it says of them is believed, in seconds since 1970.
    pub(crate) ends: u64,
    pub(crate) fresh: u64,
    /// By which that is had anew.
    pub(crate) refresh: Option<String>,
    /// What the issuer is shown when they log out.
    pub(crate) hint: Option<String>,
}

/// Who it is, as tokens said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) told: BTreeMap<String, Value>,
    pub(crate) asked: BTreeMap<String, Value>,
}
