//! Expressions, on stacks of the size that workers have.

use std::thread::Builder;

use serde_json::json;

use crate::compositions::{
    expression::{Compiled, Scope},
    value,
};

/// The stack of a worker's thread, in bytes.
const STACK: usize = 2 << 20;

/// Whatever is an expression comes to something or is told why not; nothing panics or calls itself without end.
///
/// # Panics
/// If that does not hold.
pub fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let scope = scope();
    std::thread::scope(|threads| {
        let evaluating = Builder::new().stack_size(STACK).spawn_scoped(threads, || {
            let Ok(compiled) = Compiled::parse(text) else { return };
            for name in &compiled.names {
                // One of the outermost scope begins with a dot, after which there may be anything that says nothing.
                let word = name.strip_prefix('.').unwrap_or(name);
                assert!(!word.is_empty() && text.contains(word), "{name} is not in {text}");
            }
            if let Ok(value) = compiled.evaluate(&scope)
                && let Ok(json) = value::to_json(&value)
            {
                assert_eq!(value::to_json(&value::from_json(json.clone())), Ok(json), "{text}");
            }
        });
        evaluating.expect("there is a thread").join().expect("it holds");
    });
}

/// What services answered.
fn scope() -> Scope {
    let order = json!({
        "id": 7, "user": "alice", "total": 12.5, "open": true, "note": null, "big": u64::MAX, "least": i64::MIN,
        "lines": [{ "product": "a", "count": 2 }, { "product": "ü/\u{0}", "count": -1 }],
    });
    let request = json!({ "path": "/orders/7", "query": { "q": "x" }, "headers": {} });
    [("order", order), ("request", request), ("id", json!("7")), ("none", json!(null))]
        .into_iter()
        .map(|(name, json)| (name.into(), value::from_json(json)))
        .collect()
}
