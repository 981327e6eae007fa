//! What an OpenAPI document says, as far as a request can be made of it: operations with examples.

use madang_wire::dashboard::TryRequest;
use serde_json::{Map, Value};

/// How many operations are shown at most.
const MOST: usize = 500;

/// How deep an example is made at most: a schema may contain itself.
const DEEPEST: usize = 6;

const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// Something that a service answers.
pub(super) struct Operation {
    pub(super) method: String,
    /// The path with its parameters as the document writes them.
    pub(super) path: String,
    pub(super) summary: String,
    /// The path with examples in the place of parameters.
    example: String,
    body: String,
}

impl Operation {
    /// A request that can be sent as it is.
    pub(super) fn example(&self) -> TryRequest {
        let json = ("content-type".to_owned(), "application/json".to_owned());
        TryRequest {
            method: Some(self.method.clone()),
            path: self.example.clone(),
            headers: if self.body.is_empty() { Default::default() } else { [json].into() },
            body: self.body.clone(),
        }
    }
}

/// The operations of a document, in its order.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| {
            let operation = item.get(method)?;
            Some((*method, path, item, operation))
        })
    });
    let made = all.map(|(method, path, item, operation)| {
        let parameters: Vec<&Value> = [item, operation]
            .iter()
            .flat_map(|of| of["parameters"].as_array().into_iter().flatten())
            .map(|parameter| resolve(document, parameter))
            .collect();
        let body = resolve(document, &operation["requestBody"]);
        let content = &body["content"]["application/json"];
        let body = match content.is_object() {
            true => serde_json::to_string_pretty(&example_of(document, content)).unwrap_or_default(),
            false => String::new(),
        };
        let text =
            |key: &str| operation[key].as_str().and_then(|text| text.lines().next()).map(str::to_owned);
        Operation {
            method: method.to_ascii_uppercase(),
            path: path.clone(),
            summary: text("summary").or_else(|| text("description")).unwrap_or_default(),
            example: filled(document, path, &parameters),
            body,
        }
    });
    made.take(MOST).collect()
}

/// The path with examples in the place of its parameters, and those of the query that must be there.
fn filled(document: &Value, path: &str, parameters: &[&Value]) -> String {
    let mut path = path.to_owned();
    let mut query = form_urlencoded::Serializer::new(String::new());
    for parameter in parameters {
        let Some(name) = parameter["name"].as_str() else { continue };
        let example = match example_of(document, parameter) {
            Value::String(text) if text.is_empty() => "1".to_owned(),
            Value::String(text) => text,
            Value::Null => "1".to_owned(),
            other => other.to_string(),
        };
        if parameter["in"] == "path" {
            path = path.replace(&format!("{{{name}}}"), &example);
        } else if parameter["in"] == "query" && parameter["required"] == true {
            query.append_pair(name, &example);
        }
    }
    let query = query.finish();
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// The example of a parameter or of a content, or else one of its schema.
fn example_of(document: &Value, of: &Value) -> Value {
    if let Some(example) = of.get("example") {
        return example.clone();
    }
    let named = of["examples"].as_object().and_then(|examples| examples.values().next());
    match named.and_then(|example| example.get("value")) {
        Some(value) => value.clone(),
        None => of_schema(document, &of["schema"], 0),
    }
}

fn of_schema(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolve(document, schema);
    if let Some(given) =
        schema.get("example").or_else(|| schema.get("default")).or_else(|| schema.get("const"))
    {
        return given.clone();
    }
    if let Some(first) = ["examples", "enum"].iter().find_map(|key| schema[*key].as_array()?.first()) {
        return first.clone();
    }
    if depth == DEEPEST {
        return Value::Null;
    }
    if let Some(first) = ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema[*key].as_array()?.iter().find(|one| one["type"] != "null"))
    {
        return of_schema(document, first, depth + 1);
    }
    if let Some(all) = schema["allOf"].as_array() {
        let parts = all.iter().filter_map(|one| of_schema(document, one, depth + 1).as_object().cloned());
        return Value::Object(parts.flatten().collect::<Map<_, _>>());
    }
    match schema_type(schema) {
        "object" => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let made =
                properties.map(|(name, schema)| (name.clone(), of_schema(document, schema, depth + 1)));
            Value::Object(made.collect())
        }
        "array" => Value::Array(vec![of_schema(document, &schema["items"], depth + 1)]),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        "boolean" => Value::Bool(false),
        "string" => Value::String(String::new()),
        _ => Value::Null,
    }
}

/// Its type; of several (`["string", "null"]`) the first that is one.
fn schema_type(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(one) => one,
        Value::Array(several) => {
            several.iter().filter_map(Value::as_str).find(|one| *one != "null").unwrap_or("")
        }
        _ if schema["properties"].is_object() => "object",
        _ => "",
    }
}

/// What a reference within the document leads to; itself if it is none.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    // References that lead in a circle are followed a few times and no more.
    for _ in 0..DEEPEST {
        let Some(pointer) = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) else {
            break;
        };
        let Some(found) = document.pointer(pointer) else { break };
        value = found;
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operation_comes_with_a_request_that_can_be_sent() {
        let document = json!({
            "paths": {
                "/users/{id}": {
                    "parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}],
                    "get": {"summary": "One user.", "parameters": [
                        {"name": "full", "in": "query", "required": true, "schema": {"type": "boolean"}},
                        {"name": "page", "in": "query", "schema": {"type": "integer"}}]},
                },
                "/users": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}}}},
            },
            "components": {"schemas": {"New": {"type": "object", "properties": {
                "name": {"type": "string", "example": "Ada"},
                "age": {"type": ["integer", "null"]},
                "friend": {"$ref": "#/components/schemas/New"}}}}},
        });
        let made: Vec<_> = operations(&document).iter().map(Operation::example).collect();
        assert_eq!((made[1].method.as_deref(), made[1].path.as_str()), (Some("GET"), "/users/1?full=false"));
        assert_eq!((made[0].method.as_deref(), made[0].path.as_str()), (Some("POST"), "/users"));
        let body: Value = serde_json::from_str(&made[0].body).unwrap();
        assert_eq!(
            (&body["name"], &body["age"], &body["friend"]["name"]),
            (&json!("Ada"), &json!(1), &json!("Ada"))
        );
        assert!(operations(&json!({"paths": 3})).is_empty());
        let circle =
            json!({"paths": {"/": {"post": {"requestBody": {"$ref": "#/a"}}}}, "a": {"$ref": "#/a"}});
        assert_eq!(operations(&circle)[0].body, "");
    }
}
