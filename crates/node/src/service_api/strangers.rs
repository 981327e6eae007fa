//! Whoever has no token of this node gets nothing of the service API, whatever they ask.

use axum::body::Body;
use http::{Request, StatusCode};
use tower::ServiceExt;
use utoipa::OpenApi;

use super::{ServiceApiDocument, fixture::fixture};

/// Every path with each of its methods: those of the document, and those of OTLP over HTTP.
fn everything() -> Vec<(String, String)> {
    let document = serde_json::to_value(ServiceApiDocument::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    let described = paths.into_iter().flat_map(|(path, methods)| {
        let methods: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(move |method| {
            (method.to_uppercase(), path.replace("{id}", "1").replace("{service}", "orders"))
        })
    });
    let otlp = ["/v1/traces", "/v1/logs", "/v1/metrics"].map(|path| ("POST".to_owned(), path.to_owned()));
    described.chain(otlp).collect()
}

#[tokio::test]
async fn nobody_is_heard_without_a_token_of_this_node() {
    let fixture = fixture().await;
    let good = fixture.token("orders");
    let short = &good[..good.len() - 1];
    let (longer, upper) = (format!("{good}0"), good.to_uppercase());
    let renamed = good.replacen("orders", "users", 2);
    let values = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(good.clone()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {short}")),
        Some(format!("Bearer {longer}")),
        Some(format!("Bearer {upper}")),
        Some(format!("Bearer {renamed}")),
        Some(format!("Bearer {good} {good}")),
    ];
    let paths = everything();
    assert!(paths.len() >= 8, "{paths:?}");
    for (method, path) in paths {
        for value in &values {
            let mut request = Request::builder().method(&*method).uri(&path);
            request = request.header("content-type", "application/json");
            if let Some(value) = value {
                request = request.header("authorization", value);
            }
            let request = request.body(Body::from("{}")).unwrap();
            let status = fixture.router.clone().oneshot(request).await.unwrap().status();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} with {value:?}");
        }
    }
    assert_eq!(fixture.get("/v1/endpoints", &good).await.status(), StatusCode::OK, "it was the token");
}
