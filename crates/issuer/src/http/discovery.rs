//! What the issuer can do (OpenID Connect Discovery 1.0, RFC 8414), and its keys.

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::header;
use serde_json::json;

use super::Now;
use crate::{Client, Issuer};

pub(super) async fn document(Extension(settings): Now) -> impl IntoResponse {
    let at = |path: &str| format!("{}{path}", settings.name);
    let mut scopes: Vec<&str> = Client::ABOUT.to_vec();
    scopes.extend(settings.clients.values().flat_map(|client| &client.scopes).map(String::as_str));
    scopes.sort_unstable();
    scopes.dedup();
    let ways = ["client_secret_basic", "client_secret_post", "none"];
    Json(json!({
        "issuer": settings.name,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/keys"),
        "revocation_endpoint": at("/revoke"),
        "introspection_endpoint": at("/introspect"),
        "end_session_endpoint": at("/logout"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ways,
        "revocation_endpoint_auth_methods_supported": ways,
        "introspection_endpoint_auth_methods_supported": ways[..2],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "prompt_values_supported": ["none", "login"],
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    }))
}

pub(super) async fn keys(State(issuer): State<Issuer>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "max-age=900")], Json(issuer.inner.keys.published()))
}
