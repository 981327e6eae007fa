//! Who logged in, for whoever has their token (OpenID Connect Core 1.0, section 5.3).

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::Now;
use crate::{Issuer, tokens};

pub(super) async fn userinfo(
    State(issuer): State<Issuer>,
    Extension(settings): Now,
    headers: HeaderMap,
) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        given.and_then(|text| text.split_once(' ')).filter(|(way, _)| way.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = bearer else { return refused(StatusCode::UNAUTHORIZED, "Bearer") };
    let Some(Value::Object(claims)) = tokens::holding(&issuer.inner, &settings, token.trim()).await else {
        return refused(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"");
    };
    let scope = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
    if !scope.split(' ').any(|scope| scope == "openid") {
        return refused(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\", scope=\"openid\"");
    }
    let subject = claims.get("sub").cloned().unwrap_or_default();
    let told: Map<String, Value> =
        std::iter::once(("sub".to_owned(), subject)).chain(tokens::told(&claims)).collect();
    ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response()
}

fn refused(status: StatusCode, challenge: &'static str) -> Response {
    (status, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}
