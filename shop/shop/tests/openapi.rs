//! The documents of all services, read as a client generator would.

use std::collections::BTreeSet;

use madang::test::TestApp;
use serde_json::Value;

/// Every reference in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                found.insert(reference.clone());
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(array) => array.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_document_is_whole() {
    let services =
        [shop_users::service(), shop_catalog::service(), shop_orders::service(), shop_payments::service()];
    let app = TestApp::start(services).await;
    for service in ["users", "catalog", "orders", "payments"] {
        let document = app.get(service, "/openapi.json").await.json();
        assert_eq!(document["info"]["title"], service);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{service}: {reference} leads nowhere");
        }
        assert!(found.contains("#/components/schemas/Problem"), "{service} has problems");

        let mut ids = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id), "{service}: {id} is used twice");
                assert!(!operation["summary"].as_str().unwrap().is_empty());
                // Path parameters are described, and nothing else is.
                let described = operation["parameters"].as_array().into_iter().flatten();
                let described: BTreeSet<&str> = described
                    .filter(|parameter| parameter["in"] == "path")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
                assert_eq!(described, in_path.collect(), "{service}: {method} {path}");
            }
        }
    }
}
