//! What the services of the SDK did for one request, in one tree with what the gateway saw, wherever they run.

use http::{Method, StatusCode};
use madang_testkit::{Placement, Prepared};
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// The spans of a trace.
struct Tree(Vec<Value>);

impl Tree {
    /// The only span of a service with this name, below that one.
    fn below(&self, parent: &Value, service: &str, name: &str) -> &Value {
        let found = self.0.iter().filter(|span| {
            span["parent_span_id"] == parent["span_id"] && span["service"] == service && span["name"] == name
        });
        match &found.collect::<Vec<_>>()[..] {
            [only] => only,
            several => panic!("{} spans {service} {name} below {parent}: {:#}", several.len(), json!(self.0)),
        }
    }

    /// The calls of orders to a service, below the handler or a span of its own.
    fn calls_to<'a>(&'a self, peer: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |span| {
            span["service"] == "orders" && span["kind"] == "client" && span["peer"] == peer
        })
    }

    fn is_below(&self, span: &Value, ancestor: &Value) -> bool {
        let mut span = span;
        while let Some(parent) = self.0.iter().find(|other| other["span_id"] == span["parent_span_id"]) {
            if parent["span_id"] == ancestor["span_id"] {
                return true;
            }
            span = parent;
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_tree_of_hops_handlers_calls_and_queries() {
    for placement in [Placement::Processes, Placement::Monolith] {
        let prepared = Prepared::shop();
        prepared.edit("orders/service.toml", "${PAYMENTS_OVER:-http}", "grpc");
        let mut shop = prepared.start(placement).await;
        let traceparent = format!("00-{TRACE}-{CLIENT}-01");
        let headers = [("traceparent", &*traceparent), ("content-type", "application/json")];
        let order = json!({"user": 1, "product": "Book"}).to_string();
        let placed = shop.client().send(Method::POST, "/orders", &headers, order).await.unwrap();
        assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());

        // What was not told yet is told before the end.
        shop.down().await;
        shop.up(placement).await;
        let view = shop.run(&["trace", TRACE, "--format", "json"]).await;
        let view: Value = serde_json::from_str(&view).unwrap();
        let tree = Tree(view["spans"].as_array().unwrap().clone());

        let without_parent = tree
            .0
            .iter()
            .filter(|span| !tree.0.iter().any(|other| other["span_id"] == span["parent_span_id"]));
        let [gateway] = &without_parent.collect::<Vec<_>>()[..] else {
            panic!("more than one tree: {view:#}")
        };
        assert_eq!((&gateway["service"], &gateway["parent_span_id"]), (&json!("gateway"), &json!(CLIENT)));
        let orders = tree.below(gateway, "orders", "POST /orders");
        assert_eq!(
            (&orders["kind"], &orders["attributes"]["http.response.status_code"]),
            (&json!("server"), &json!(201))
        );

        for (callee, handler) in [
            ("users", "GET /users/{id}"),
            ("catalog", "POST /reservations"),
            ("payments", "shop.payments.v1.Payments/Charge"),
        ] {
            let calls: Vec<_> = tree.calls_to(callee).collect();
            assert!(!calls.is_empty(), "no call to {callee}: {view:#}");
            assert!(calls.iter().all(|call| tree.is_below(call, orders)), "{callee}: {view:#}");
            let handled = calls.iter().find_map(|call| {
                tree.0.iter().find(|span| {
                    span["parent_span_id"] == call["span_id"]
                        && span["service"] == callee
                        && span["name"] == handler
                })
            });
            let handled = handled.unwrap_or_else(|| panic!("{callee} did not handle {handler}: {view:#}"));
            let queries = tree.0.iter().filter(|span| {
                span["parent_span_id"] == handled["span_id"]
                    && span["attributes"]["db.system.name"] == "sqlite"
            });
            assert!(queries.count() > 0, "{callee} asks its database: {view:#}");
        }
        shop.down().await;
    }
}
