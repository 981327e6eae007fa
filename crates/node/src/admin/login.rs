//! Logging in to the dashboard: a URL with the token, which becomes a session, so that the token is in no address bar.

use std::sync::Arc;

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use madang_wire::{Code, Problem, dashboard::LoginView};
use serde::Deserialize;
use tracing::warn;

use super::{
    Answer, Shared,
    access::{self, Access},
};

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
}

/// What is reached without a session.
pub(super) fn routes(access: Arc<Access>) -> Router {
    Router::new()
        .route("/login", get(by_url).post(by_form))
        .route("/logout", axum::routing::post(out))
        .with_state(access)
}

async fn by_url(State(access): State<Arc<Access>>, Query(Token { token }): Query<Token>) -> Response {
    match token {
        Some(token) => begin(&access, &token),
        None => madang_dashboard::log_in(StatusCode::OK, None),
    }
}

async fn by_form(State(access): State<Arc<Access>>, Form(Token { token }): Form<Token>) -> Response {
    begin(&access, token.unwrap_or_default().trim())
}

fn begin(access: &Access, token: &str) -> Response {
    if !access.is_token(token) {
        let why = "This token is not known: it is new each time the node starts.";
        return madang_dashboard::log_in(StatusCode::UNAUTHORIZED, Some(why));
    }
    match access.begin() {
        Ok(value) => to_page(access, &value, access::LASTS.as_secs()),
        Err(error) => {
            warn!(%error, "failed to begin a session");
            madang_dashboard::log_in(
                StatusCode::INTERNAL_SERVER_ERROR,
                Some("The system has no randomness to give."),
            )
        }
    }
}

/// The browser forgets the session. Whoever copied it has it until its end.
async fn out(State(access): State<Arc<Access>>) -> Response {
    to_page(&access, "", 0)
}

fn to_page(access: &Access, value: &str, seconds: u64) -> Response {
    let cookie = format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict", access.cookie());
    let cookie = HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""));
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::LOCATION, HeaderValue::from_static("/")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Where the dashboard is and how a browser is logged in.
#[utoipa::path(get, path = "/v1/login", responses((status = 200, body = LoginView), (status = 404, body = Problem)))]
pub(super) async fn login(State(node): State<Arc<Shared>>) -> Answer<Json<LoginView>> {
    let Some(url) = &node.dashboard else {
        let detail = "the dashboard is off: the manifest says `listen = false` in [admin]";
        return Err(Problem::new(Code::UNKNOWN_NAME).detail(detail).into());
    };
    let login = format!("{url}/login?token={}", node.access.token());
    let token_file = node.access.file().display().to_string();
    Ok(Json(LoginView { url: url.clone(), login, token_file }))
}
