//! The endpoints, and what holds for all of them.

mod authorize;
mod cors;
mod discovery;
mod login;
mod logout;
mod revoke;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};

use crate::{Issuer, Settings, pages};

/// The largest form, in bytes.
const LARGEST: usize = 32 * 1024;

pub(crate) fn router(issuer: Issuer) -> Router {
    let for_programs = Router::new()
        .route("/.well-known/openid-configuration", get(discovery::document))
        .route("/.well-known/oauth-authorization-server", get(discovery::document))
        .route("/keys", get(discovery::keys))
        .route("/token", post(token::token))
        .route("/revoke", post(revoke::revoke))
        .route("/userinfo", get(userinfo::userinfo).post(userinfo::userinfo))
        .route_layer(middleware::from_fn(cors::cors));
    for_programs
        .route("/authorize", get(authorize::by_link).post(authorize::by_form))
        .route("/login", post(login::log_in))
        .route("/introspect", post(revoke::introspect))
        .route("/logout", get(logout::by_link).post(logout::by_form))
        .route("/style.css", get(style))
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(issuer.clone(), known))
        .with_state(issuer)
}

/// Only who asks for the issuer by its name is answered: a page whose own name leads to this machine is not.
async fn known(State(issuer): State<Issuer>, mut request: Request, next: Next) -> Response {
    let Some(settings) = issuer.inner.settings() else {
        return pages::say(StatusCode::NOT_FOUND, "No issuer", "The manifest of this system has no issuer.");
    };
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.or(request.uri().authority().map(|it| it.as_str()));
    if !named.is_some_and(|host| settings.is_at(host)) {
        let sentence = format!("This issuer is at {}.", settings.name);
        return pages::say(StatusCode::MISDIRECTED_REQUEST, "Another host", &sentence);
    }
    request.extensions_mut().insert(settings);
    next.run(request).await
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css"), (header::CACHE_CONTROL, "max-age=3600")], pages::STYLE)
        .into_response()
}

/// The settings, as the layer found them.
pub(crate) type Now = axum::Extension<Arc<Settings>>;

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(';')).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

/// A URL with these parameters besides.
pub(crate) fn with(url: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    match query.is_empty() {
        true => url.to_owned(),
        false => format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' }),
    }
}

/// Sends a browser on by a new request of its own, which is a GET.
pub(crate) fn to(url: &str) -> Response {
    let headers = [
        (header::LOCATION, url),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}
