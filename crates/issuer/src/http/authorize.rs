//! A client sends somebody's browser here to log in (RFC 6749, section 4.1.1; RFC 7636; RFC 9207).

use axum::{
    Extension,
    body::Bytes,
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use madang_model::Grant;

use super::{Now, cookie, to, with};
use crate::{
    Issuer, Settings,
    pages::{self, LogIn},
    parameters::Parameters,
    random,
    refused::Refused,
    tickets::Asked,
};

/// The cookie that ties a form to a browser.
pub(super) const BROWSER: &str = "madang_issuer";

/// The longest of what a client has given back to it, in bytes.
const LONGEST: usize = 2048;

pub(super) async fn by_link(
    state: State<Issuer>,
    now: Now,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    ask(&state, &now, &headers, query.unwrap_or_default().as_bytes())
}

pub(super) async fn by_form(state: State<Issuer>, now: Now, headers: HeaderMap, body: Bytes) -> Response {
    ask(&state, &now, &headers, &body)
}

fn ask(issuer: &Issuer, Extension(settings): &Now, headers: &HeaderMap, parameters: &[u8]) -> Response {
    let parameters = match Parameters::read(parameters) {
        Ok(parameters) => parameters,
        Err(name) => return stay(&format!("The parameter {name:?} is there twice.")),
    };
    let Some(client) = parameters.get("client_id").and_then(|name| settings.clients.get(name)) else {
        return stay(
            "The client that sent you here is not known: its client_id is none of those in the manifest.",
        );
    };
    // Before this holds nobody is sent anywhere, also not with an error.
    let Some(redirect) = parameters.get("redirect_uri").filter(|uri| client.redirects.contains(*uri)) else {
        return stay(
            "The client that sent you here wants you sent back to where it does not say in the manifest (redirect_uri).",
        );
    };
    let asked = match asked(settings, &parameters, redirect) {
        Ok(asked) => asked,
        Err(refused) => return back(settings, redirect, parameters.get("state"), refused),
    };
    form(issuer, settings, headers, &asked, parameters.get("login_hint").unwrap_or_default(), None)
}

/// What is asked for, if it can be had.
fn asked(settings: &Settings, parameters: &Parameters, redirect: &str) -> Result<Asked, Refused> {
    let name = parameters.get("client_id").ok_or(Refused::Client)?;
    let client = settings.clients.get(name).ok_or(Refused::Client)?;
    if parameters.get("request").or(parameters.get("request_uri")).is_some() {
        return Err(Refused::RequestObject);
    }
    match parameters.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(Refused::ResponseType),
        None => return Err(Refused::Request("response_type is missing: it is code")),
    }
    if !client.grants.contains(&Grant::AuthorizationCode) {
        return Err(Refused::NotItsWay);
    }
    if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Refused::Request("the only response_mode is query"));
    }
    let challenge = parameters.get("code_challenge").filter(|text| is_challenge(text));
    let challenge =
        challenge.ok_or(Refused::Request("code_challenge is missing or none: PKCE is required"))?;
    if parameters.get("code_challenge_method") != Some("S256") {
        return Err(Refused::Request("code_challenge_method must be S256"));
    }
    let given = |name: &str| parameters.get(name).map(str::to_owned);
    let (state, nonce, scope) = (given("state"), given("nonce"), parameters.words("scope"));
    if [&state, &nonce].into_iter().flatten().any(|text| text.len() > LONGEST) {
        return Err(Refused::Request("state or nonce is longer than is kept"));
    }
    if !client.may(&scope) {
        return Err(Refused::Scope);
    }
    if parameters.words("prompt").contains("none") {
        return Err(Refused::LoginRequired);
    }
    let (client, redirect, challenge) = (name.to_owned(), redirect.to_owned(), challenge.to_owned());
    Ok(Asked { client, redirect, state, nonce, scope, challenge })
}

/// Shows the form.
pub(super) fn form(
    issuer: &Issuer,
    settings: &Settings,
    headers: &HeaderMap,
    asked: &Asked,
    login: &str,
    why: Option<(StatusCode, &str)>,
) -> Response {
    let known = cookie(headers, BROWSER).filter(|text| is_challenge(text)).map(str::to_owned);
    let new = if known.is_none() { random::text().ok() } else { None };
    let ticket = known
        .as_ref()
        .or(new.as_ref())
        .and_then(|browser| issuer.inner.tickets.seal(asked, browser, issuer.inner.now()));
    let Some(ticket) = ticket else {
        return back(settings, &asked.redirect, asked.state.as_deref(), Refused::Failed);
    };
    let (status, why) = why.map_or((StatusCode::OK, None), |(status, why)| (status, Some(why)));
    let (system, back) = (settings.audience.as_str(), asked.redirect.as_str());
    let mut page = LogIn { client: &asked.client, system, ticket: &ticket, login, why, back }.page(status);
    if let Some(new) = new {
        let secure = if settings.name.starts_with("https:") { "; Secure" } else { "" };
        // Lax, because it is a page elsewhere that leads here.
        let cookie = format!("{BROWSER}={new}; Path=/; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            page.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    page
}

/// Sends the browser back without a code.
pub(super) fn back(settings: &Settings, redirect: &str, state: Option<&str>, refused: Refused) -> Response {
    let (error, description) = refused.words();
    to(&with(
        redirect,
        &[
            ("error", Some(error)),
            ("error_description", Some(description)),
            ("state", state),
            ("iss", Some(&settings.name)),
        ],
    ))
}

/// Nobody is sent on: whoever made the link may not be whom it names.
fn stay(sentence: &str) -> Response {
    pages::say(StatusCode::BAD_REQUEST, "This link is not good", sentence)
}

/// A SHA-256 in base64url without padding.
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
