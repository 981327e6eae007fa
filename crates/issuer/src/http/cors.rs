//! Programs in pages of other origins may ask for tokens, where the manifest names their origin (Fetch Standard, "CORS
//! protocol"). They do so with what they send in the request; a cookie is of no use at these endpoints, and none is let
//! through. Pages that a browser is sent to are for browsers alone.

use std::sync::Arc;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::Settings;

/// How long a browser remembers what it may, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Answers what a browser asks before a request, and says in each answer who may read it.
pub(super) async fn cors(request: Request, next: Next) -> Response {
    let allowed = allowed(&request);
    let asks = *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match asks {
        true => preflight(allowed.is_some()),
        false => next.run(request).await,
    };
    // Also where nobody is allowed: somebody else would be.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let told = HeaderValue::from_static("www-authenticate");
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, told);
    }
    response
}

/// The origin of the page that asks, if the manifest names it.
fn allowed(request: &Request) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    let settings = request.extensions().get::<Arc<Settings>>()?;
    origin.to_str().is_ok_and(|it| settings.origins.contains(it)).then(|| origin.clone())
}

fn preflight(allowed: bool) -> Response {
    let mut fields = HeaderMap::new();
    if allowed {
        let methods = HeaderValue::from_static("GET, POST");
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = HeaderValue::from_static("authorization, content-type");
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        fields.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    (StatusCode::NO_CONTENT, fields).into_response()
}
