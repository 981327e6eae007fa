//! JSON as values of CEL, and back.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value,
    objects::{Key, Map},
};
use serde_json::Number;

/// What a service answered, as expressions see it. A whole number is an `int` where it fits one, so that it can be
/// counted with.
pub(crate) fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(is) => Value::Bool(is),
        serde_json::Value::Number(number) => from_number(&number),
        serde_json::Value::String(text) => Value::String(Arc::new(text)),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.into_iter().map(from_json).collect())),
        serde_json::Value::Object(fields) => {
            map(fields.into_iter().map(|(name, value)| (name, from_json(value))))
        }
    }
}

/// A map by names.
pub(crate) fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let entry = |(name, value): (String, Value)| (Key::String(Arc::new(name)), value);
    let map: HashMap<Key, Value> = entries.into_iter().map(entry).collect();
    Value::Map(Map { map: Arc::new(map) })
}

/// A text.
pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::String(Arc::new(text.into()))
}

fn from_number(number: &Number) -> Value {
    match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => Value::Int(whole),
        (None, Some(whole)) => Value::UInt(whole),
        (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// What an expression came to, as JSON; says of what is not JSON what it is.
pub(crate) fn to_json(value: &Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(is) => (*is).into(),
        Value::Int(whole) => (*whole).into(),
        Value::UInt(whole) => (*whole).into(),
        Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => number.into(),
            None => return Err(format!("{number} is no number of JSON")),
        },
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(to_json).collect::<Result<_, _>>()?,
        Value::Map(map) => {
            let field = |(key, value): (&Key, &Value)| Ok((key.to_string(), to_json(value)?));
            map.map.iter().map(field).collect::<Result<serde_json::Map<_, _>, String>>()?.into()
        }
        Value::Bytes(_) | Value::Function(..) | Value::Opaque(_) | Value::Struct(_) => {
            return Err(format!("a value of the type {:?} is not JSON", value.type_of()));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_goes_through_as_it_is() {
        let json = json!({
            "whole": [0, -1, i64::MAX, i64::MIN, u64::MAX], "part": [0.5, -1e300], "text": "\u{0}é\"",
            "nothing": null, "is": [true, false], "in": { "": {}, "a.b": [[]] }
        });
        assert_eq!(to_json(&from_json(json.clone())).unwrap(), json);
    }

    #[test]
    fn what_is_not_json_is_told() {
        assert!(to_json(&Value::Float(f64::NAN)).unwrap_err().contains("NaN"));
        assert!(to_json(&Value::Bytes(Arc::default())).unwrap_err().contains("Bytes"));
    }
}
