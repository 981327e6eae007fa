//! What changes in the fields of messages.

use std::{collections::BTreeMap, fmt};

use http::{HeaderName, HeaderValue};
use serde::{Serialize, Serializer};

/// What changes in the fields of messages: first what is removed, then what is set, then what is added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    /// Fields that go, by their names in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that there are once, whatever there was.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Template>,
    /// Fields that there are besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, Template>,
}

/// A value of a field, with what is filled in for each message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A part of a value. None of what is filled in can end a field or begin another: the gateway has brought each into a form
/// of visible characters, or made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// This text.
    Text(String),
    /// `{address}`: the client's address.
    Address,
    /// `{request_id}`.
    RequestId,
    /// `{host}`: the host that the request is for, as it was sent.
    Host,
    /// `{route}`: the route's path, as it was written.
    Route,
}

/// Why a text is no template, or a field no field to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A brace that is no part.
    #[error("a brace begins or ends none of {{address}}, {{request_id}}, {{host}} and {{route}}")]
    Brace,
    /// Not visible characters.
    #[error("it is not a value that a header can have")]
    Value,
    /// It is not a header's name.
    #[error("it is not the name of a header")]
    Name,
    /// The gateway writes it.
    #[error("the gateway writes it, or goes by it")]
    Owned,
}

// === impl HeaderEdits ===

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// The name, in lower case, of a field that can be changed.
    ///
    /// # Errors
    /// If it is none, or one that Madang itself, the framing of messages or a connection goes by.
    pub fn name(text: &str) -> Result<String, Unusable> {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| Unusable::Name)?;
        let name = name.as_str();
        let owned = name.starts_with("madang-")
            || name.starts_with("x-forwarded-")
            || name.starts_with("access-control-")
            || name.starts_with("ratelimit")
            || name.contains('_')
            || OWNED.contains(&name);
        if owned { Err(Unusable::Owned) } else { Ok(name.to_owned()) }
    }
}

/// What the gateway writes itself, or goes by: framing, connections, the context of a call, who is asking.
const OWNED: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "forwarded",
    "grpc-status",
    "grpc-timeout",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "retry-after",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];

// === impl Template ===

impl Template {
    /// Reads a value with its parts in braces.
    ///
    /// # Errors
    /// If a brace is none of a part, or the rest cannot be in a field.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        if HeaderValue::from_str(text).is_err() || text.trim() != text {
            return Err(Unusable::Value);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let known = [Part::Address, Part::RequestId, Part::Host, Part::Route];
            let part =
                known.into_iter().find(|part| brace.starts_with(&part.to_string())).ok_or(Unusable::Brace)?;
            rest = &brace[part.to_string().len()..];
            parts.push(part);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::Address => "{address}",
            Self::RequestId => "{request_id}",
            Self::Host => "{host}",
            Self::Route => "{route}",
        })
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(Part::to_string).collect();
        to.serialize_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_parts_that_are_filled_in() {
        let parsed = Template::parse("by {address}, {route}").unwrap();
        assert_eq!(parsed.0, [Part::Text("by ".into()), Part::Address, Part::Text(", ".into()), Part::Route]);
        for (text, why) in [
            ("{", Unusable::Brace),
            ("}", Unusable::Brace),
            ("{cookie}", Unusable::Brace),
            ("{host", Unusable::Brace),
            ("a\r\nb", Unusable::Value),
            (" a", Unusable::Value),
        ] {
            assert_eq!(Template::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn what_the_gateway_goes_by_is_not_changed() {
        assert_eq!(HeaderEdits::name("X-Tenant"), Ok("x-tenant".to_owned()));
        assert_eq!(HeaderEdits::name("a b"), Err(Unusable::Name));
        for name in
            ["Host", "madang-principal", "X-Forwarded-For", "content-length", "TE", "x_tenant", "RateLimit"]
        {
            assert_eq!(HeaderEdits::name(name), Err(Unusable::Owned), "{name}");
        }
    }
}
