//! Attributes and their values.

use serde_json::{Map, Number, Value};

use super::generated::common::v1::{AnyValue, KeyValue, any_value};

/// An attribute that is text.
pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

/// The text of an attribute, if it is there and is text.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A value as JSON. What JSON has no form for becomes text: numbers that are none or infinite, and bytes, as
/// hexadecimal digits.
pub fn to_json(value: Option<AnyValue>) -> Value {
    use any_value::Value as Kind;
    match value.and_then(|value| value.value) {
        None => Value::Null,
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::BoolValue(is)) => is.into(),
        Some(Kind::IntValue(number)) => number.into(),
        Some(Kind::DoubleValue(number)) => match Number::from_f64(number) {
            Some(number) => number.into(),
            None => number.to_string().into(),
        },
        Some(Kind::ArrayValue(array)) => array.values.into_iter().map(|value| to_json(Some(value))).collect(),
        Some(Kind::KvlistValue(list)) => {
            let fields = list.values.into_iter().map(|field| (field.key, to_json(field.value)));
            fields.collect::<Map<_, _>>().into()
        }
        Some(Kind::BytesValue(bytes)) => {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
    }
}
