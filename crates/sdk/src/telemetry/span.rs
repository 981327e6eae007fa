//! A span that is over, as it waits to be sent.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The longest text of an attribute that is kept, in bytes.
pub(crate) const LONGEST: usize = 2048;

/// How many attributes of a span are kept.
pub(crate) const ATTRIBUTES: usize = 64;

/// A span that is over.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    /// When it began, in nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) duration: Duration,
    /// What failed, if it did.
    pub(crate) failed: Option<Cow<'static, str>>,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// What it failed with: its type and its message.
    pub(crate) exception: Option<(Cow<'static, str>, String)>,
}

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request that is answered here.
    Server,
    /// Work in the process.
    Internal,
    /// A question to another: a database.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(Cow<'static, str>),
    Shared(Arc<str>),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

// === impl Span ===

impl Span {
    /// Whether it is sent before others: it failed, or took a second.
    pub(crate) fn is_urgent(&self) -> bool {
        self.failed.is_some() || self.duration >= Duration::from_secs(1)
    }

    /// Adds an attribute, as long as there are not too many.
    pub(crate) fn with(&mut self, key: &'static str, value: impl Into<Value>) {
        if self.attributes.len() < ATTRIBUTES {
            self.attributes.push((key, value.into()));
        }
    }
}

/// The time now, in nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// The text as far as it is kept.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

// === impl Value ===

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(cut(text).into())
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}
