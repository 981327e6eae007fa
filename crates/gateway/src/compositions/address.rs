//! What a call asks for: a path with expressions in braces, and the parameters of a query.

use std::ops::Range;

use cel::Value;
use http::Uri;
use madang_model::{
    PartCall,
    manifest::{Expression, ManifestError},
};

use super::{
    expression::{Compiled, Scope, Unreadable},
    value,
};
use crate::path;

/// What a call asks for.
pub(super) struct Address {
    path: Box<[Piece]>,
    query: Box<[(Box<str>, Compiled)]>,
}

enum Piece {
    Text(Box<str>),
    Value(Compiled),
}

/// The longest address that is asked for, in bytes.
const LONGEST: usize = 8 * 1024;

/// What is wrong with an expression in the manifest.
pub(super) fn refused(
    expression: &Expression,
    Unreadable { at, why }: Unreadable,
    from: usize,
) -> ManifestError {
    let at = Range { start: from + at.start, end: from + at.end };
    let why = format!("an expression cannot be read: {why}");
    expression.refused(
        at,
        &why,
        "not CEL",
        "expressions are in the Common Expression Language: `order.lines.map(line, line.product)`, `{\"id\": order.id}`, `has(user.name) ? user.name : \"\"`",
    )
}

impl Address {
    /// Reads what the manifest says, with every problem of it.
    pub(super) fn parse(call: &PartCall, problems: &mut Vec<ManifestError>) -> Self {
        let mut path = Vec::new();
        let text = call.path.text();
        let mut rest = 0..text.len();
        while let Some(open) = text[rest.clone()].find('{') {
            let (from, open) = (rest.start, rest.start + open);
            // The manifest's check has seen that each brace is closed.
            let close = text[open..].find('}').map_or(text.len(), |at| open + at);
            path.push(Piece::Text(text[from..open].into()));
            match Compiled::parse(&text[open + 1..close]) {
                Ok(compiled) => path.push(Piece::Value(compiled)),
                Err(unreadable) => problems.push(refused(&call.path, unreadable, open + 1)),
            }
            rest.start = (close + 1).min(text.len());
        }
        path.push(Piece::Text(text[rest].into()));
        let query = call.query.iter().filter_map(|(name, expression)| {
            let compiled = Compiled::parse(expression.text());
            let compiled = compiled.map_err(|unreadable| problems.push(refused(expression, unreadable, 0)));
            Some((name.as_str().into(), compiled.ok()?))
        });
        Self { query: query.collect(), path: path.into() }
    }

    /// The variables that it is made of.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let path = self.path.iter().filter_map(|piece| match piece {
            Piece::Value(compiled) => Some(compiled),
            Piece::Text(_) => None,
        });
        let query = self.query.iter().map(|(_, compiled)| compiled);
        path.chain(query).flat_map(|compiled| &compiled.names).map(String::as_str)
    }

    /// It, where the variables have these values; says why there is none.
    pub(super) fn fill(&self, scope: &Scope) -> Result<Uri, String> {
        let mut address = String::new();
        for piece in &self.path {
            match piece {
                Piece::Text(text) => address.push_str(text),
                Piece::Value(compiled) => {
                    let value = compiled.evaluate(scope).map_err(|error| error.to_string())?;
                    address.push_str(&segment(&value)?);
                }
            }
        }
        let mut before = '?';
        for (name, compiled) in &self.query {
            let value = compiled.evaluate(scope).map_err(|error| error.to_string())?;
            let values = match &value {
                Value::List(items) => items.as_slice(),
                Value::Null => &[],
                value => std::slice::from_ref(value),
            };
            for value in values {
                let value =
                    plain(value).ok_or_else(|| format!("`{name}` is not a text, a number or a boolean"))?;
                address.push(before);
                address.push_str(&escaped(name));
                address.push('=');
                address.push_str(&escaped(&value));
                before = '&';
            }
        }
        if address.len() > LONGEST {
            return Err(format!("the address is longer than {LONGEST} bytes"));
        }
        Uri::try_from(address).map_err(|error| error.to_string())
    }
}

/// A value as one segment of a path, or a part of one: it leads nowhere else.
fn segment(value: &Value) -> Result<String, String> {
    let text = plain(value).ok_or("what stands in the path is not a text, a number or a boolean")?;
    if text.is_empty() {
        return Err("what stands in the path is empty".to_owned());
    }
    let segment = escaped(&text);
    // What no client may ask for, since services read it in several ways, is not asked for on behalf of one either.
    match path::normalise(&format!("/{segment}")) {
        Ok(normal) if normal[1..] == segment => Ok(segment),
        _ => Err("what stands in the path would lead elsewhere".to_owned()),
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Bool(_) => {
            let json = value::to_json(value).ok()?;
            Some(json.as_str().map_or_else(|| json.to_string(), str::to_owned))
        }
        _ => None,
    }
}

/// All but what RFC 3986 calls unreserved is escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => path::escape(&mut escaped, byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_leads_nowhere_else() {
        let of = |text: &str| segment(&value::text(text)).ok();
        for (text, expected) in
            [("7", "7"), ("a b;c", "a%20b%3Bc"), ("ü", "%C3%BC"), ("...", "..."), ("%2f", "%252f")]
        {
            assert_eq!(of(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", ".", "..", "a/b", "../admin", "a\\b", "..;x", "a\0", "a\r\nhost: b"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
