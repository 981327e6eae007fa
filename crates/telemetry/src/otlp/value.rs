//! Attributes, as much of them as is kept.

use madang_wire::otlp::{common::v1::KeyValue, to_json};
use serde_json::{Map, Value};

/// How many attributes are kept of one thing; what OpenTelemetry's libraries send at most unless told otherwise.
const MOST: usize = 128;

/// The longest text of one, in bytes. Stack traces are such text.
pub(super) const LONGEST: usize = 8 * 1024;

/// The attributes by their names, and how many there were beyond those that are kept.
pub(super) fn attributes(mut attributes: Vec<KeyValue>) -> (Map<String, Value>, u64) {
    let dropped = attributes.len().saturating_sub(MOST);
    attributes.truncate(MOST);
    let kept = attributes.into_iter().map(|attribute| {
        let mut value = to_json(attribute.value);
        shorten(&mut value);
        (attribute.key, value)
    });
    (kept.collect(), dropped as u64)
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => cut(text, LONGEST),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Leaves so many bytes of a text at most, with an ellipsis for the rest.
pub(super) fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest));
        text.push('…');
    }
}
