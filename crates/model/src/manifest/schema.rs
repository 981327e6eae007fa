//! The list of keys as a JSON Schema, by which editors complete and check a manifest while it is written.

use serde_json::{Map, Value, json};

use super::{
    format::{Format, METHODS},
    keys::{self, Key, MANIFEST, SERVICE_FILE, Shape, Table},
};

/// The JSON Schema (draft 2020-12) of `madang.toml` and of a `service.toml`.
pub fn schema() -> Value {
    let definitions: Map<String, Value> =
        keys::TABLES.iter().map(|definition| (definition.schema.to_owned(), table(definition))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Madang manifest",
        "description": "madang.toml describes a system; a service.toml beside a service's code describes that service.",
        "anyOf": [reference(&MANIFEST), reference(&SERVICE_FILE)],
        "$defs": definitions,
    })
}

fn reference(table: &Table) -> Value {
    json!({ "$ref": format!("#/$defs/{}", table.schema) })
}

fn table(table: &Table) -> Value {
    let properties: Map<String, Value> =
        table.keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = table.keys().filter(|key| key.required).map(|key| key.name).collect();
    let mut definition = json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    if !table.forms.is_empty() {
        definition["oneOf"] = table.forms.iter().map(|(key, _)| json!({ "required": [key] })).collect();
    }
    definition
}

fn property(key: &Key) -> Value {
    let mut property = shape(&key.shape);
    property["description"] = key.doc.into();
    property
}

fn shape(given: &Shape) -> Value {
    match given {
        Shape::Text(format) => text(*format),
        Shape::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::False => json!({ "const": false }),
        Shape::True => json!({ "const": true }),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::List(item) => json!({ "type": "array", "items": shape(item) }),
        Shape::Map(name, value) => json!({
            "type": "object",
            "propertyNames": name.pattern().map_or(json!({}), |pattern| json!({ "pattern": pattern })),
            "additionalProperties": shape(value),
        }),
        Shape::Table(table) => reference(table),
        Shape::AnyOf(shapes) => json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
    }
}

/// A text is also allowed to hold a variable, whose value no editor knows.
fn text(format: Format) -> Value {
    match (format, format.pattern()) {
        (Format::Method, _) => json!({ "enum": METHODS }),
        (Format::Database, Some(pattern)) => json!({
            "type": "string",
            "examples": ["sqlite", "postgres"],
            "anyOf": [{ "enum": ["sqlite", "postgres"] }, { "pattern": or_variable(pattern) }],
        }),
        (_, Some(pattern)) => json!({ "type": "string", "pattern": or_variable(pattern) }),
        (_, None) => json!({ "type": "string" }),
    }
}

fn or_variable(pattern: &str) -> String {
    format!("{pattern}|\\$")
}
