//! A client sends somebody's browser here once they have logged out (OpenID Connect RP-Initiated Logout 1.0).

use axum::{
    Extension,
    body::Bytes,
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;

use super::{Now, to, with};
use crate::{Issuer, Settings, pages, parameters::Parameters, tokens};

pub(super) async fn by_link(state: State<Issuer>, now: Now, RawQuery(query): RawQuery) -> Response {
    log_out(&state, &now, query.unwrap_or_default().as_bytes()).await
}

pub(super) async fn by_form(state: State<Issuer>, now: Now, body: Bytes) -> Response {
    log_out(&state, &now, &body).await
}

/// Ends what followed from the log-in of which the token says. Nobody is logged in here, so that there is no more to end.
async fn log_out(issuer: &Issuer, Extension(settings): &Now, parameters: &[u8]) -> Response {
    let parameters = Parameters::read(parameters).unwrap_or_default();
    // It is good here when it has ended, too.
    let hint =
        parameters.get("id_token_hint").and_then(|token| issuer.inner.keys.verified(tokens::ID, token));
    let hint = hint.filter(|claims| claims["iss"] == settings.name.as_str() && claims["typ"] == "ID");
    let of_hint = hint.as_ref().and_then(|claims| claims["aud"].as_str());
    if let (Some(client), Some(family)) = (of_hint, hint.as_ref().and_then(|claims| claims["sid"].as_str()))
        && let Err(error) = issuer.inner.families.end(family, client).await
    {
        tracing::error!(%error, "a log-out is not kept");
        return pages::say(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Not logged out",
            "The issuer failed. Try again.",
        );
    }
    let named = parameters.get("client_id");
    if named.is_some() && of_hint.is_some() && named != of_hint {
        return done();
    }
    match back(settings, of_hint.or(named), &parameters) {
        Some(url) => to(&with(url, &[("state", parameters.get("state"))])),
        None => done(),
    }
}

/// Where the client has its people sent, if that is where it says now.
fn back<'a>(settings: &Settings, client: Option<&str>, parameters: &'a Parameters) -> Option<&'a str> {
    let client = settings.clients.get(client?)?;
    parameters.get("post_logout_redirect_uri").filter(|url| client.after_logout.contains(*url))
}

fn done() -> Response {
    pages::say(StatusCode::OK, "Logged out", "You are logged out, and can close this page.")
}
