//! The form that the log-in page sends: a name and a password, against a code.

use std::net::SocketAddr;

use axum::{
    Extension,
    body::Bytes,
    extract::{ConnectInfo, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use madang_wire::login::{Attempt, Person};
use tracing::{info, warn};

use super::{Now, authorize, cookie, to, with};
use crate::{Issuer, Settings, codes::Code, pages, parameters::Parameters, refused::Refused, tickets::Asked};

/// The longest that somebody may type, in bytes.
const LOGIN: usize = 200;
const PASSWORD: usize = 1024;

/// The most that is said of somebody, in bytes of JSON: it is in each token.
const TOLD: usize = 2048;

pub(super) async fn log_in(
    State(issuer): State<Issuer>,
    Extension(settings): Now,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Parameters::read(&body).unwrap_or_default();
    let browser = cookie(&headers, authorize::BROWSER).unwrap_or_default();
    let ticket = form.get("ticket").unwrap_or_default();
    let asked = issuer.inner.tickets.open(ticket, browser, issuer.inner.now());
    let Some(asked) = asked.filter(|_| is_ours(&headers, &settings)) else {
        let sentence = "The page was open for too long, or is not from here. Go back to where you came from and begin again.";
        return pages::say(StatusCode::FORBIDDEN, "This form is not good", sentence);
    };
    // However it is written, it is one name to whoever counts guesses.
    let login = form.get("login").unwrap_or_default().trim();
    let password = form.get("password").unwrap_or_default();
    let again =
        |status, why: &str| authorize::form(&issuer, &settings, &headers, &asked, login, Some((status, why)));
    if login.len() > LOGIN || password.len() > PASSWORD {
        return again(StatusCode::UNPROCESSABLE_ENTITY, "This is longer than a name or a password can be.");
    }
    let guess = match issuer.inner.guesses.take(&login.to_lowercase(), client.ip()) {
        Ok(guess) => guess,
        Err(wait) => {
            let seconds = wait.as_secs() + 1;
            info!(client = %client.ip(), "a log-in is put off: there were too many wrong ones");
            let why = format!("Too many were wrong. Try again in {seconds} seconds.");
            let mut page = again(StatusCode::TOO_MANY_REQUESTS, &why);
            page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return page;
        }
    };
    let Ok(_permit) = issuer.inner.checks.try_acquire() else {
        issuer.inner.guesses.right(&guess);
        return again(StatusCode::SERVICE_UNAVAILABLE, "Too many log in at the moment. Try again.");
    };
    let attempt = Attempt { login: login.to_owned(), password: password.to_owned() };
    match issuer.inner.users.check(attempt).await {
        Ok(Some(person)) if is_fit(&person) => {
            issuer.inner.guesses.right(&guess);
            code(&issuer, &settings, asked, person)
        }
        Ok(Some(_)) => {
            warn!("the service that knows passwords tells more of somebody, or less, than a token can hold");
            issuer.inner.guesses.right(&guess);
            authorize::back(&settings, &asked.redirect, asked.state.as_deref(), Refused::Failed)
        }
        // The same whether there is somebody of this name or not.
        Ok(None) => again(StatusCode::UNAUTHORIZED, "The name or the password is not right."),
        Err(error) => {
            issuer.inner.guesses.right(&guess);
            warn!(error, "a password cannot be checked");
            again(StatusCode::SERVICE_UNAVAILABLE, "Passwords cannot be checked at the moment. Try again.")
        }
    }
}

fn code(issuer: &Issuer, settings: &Settings, asked: Asked, person: Person) -> Response {
    let now = issuer.inner.now();
    let Asked { client, redirect, state, nonce, scope, challenge } = asked;
    let code = Code { client, redirect: redirect.clone(), challenge, nonce, scope, person, at: now };
    let state = state.as_deref();
    match issuer.inner.codes.hand_out(code, now) {
        Some(code) => {
            to(&with(&redirect, &[("code", Some(&code)), ("state", state), ("iss", Some(&settings.name))]))
        }
        None => authorize::back(settings, &redirect, state, Refused::Busy),
    }
}

/// Whether the form comes from a page of ours, as far as the browser says.
fn is_ours(headers: &HeaderMap, settings: &Settings) -> bool {
    let said = |name: header::HeaderName| headers.get(name).map(|value| value.as_bytes().to_owned());
    said(header::ORIGIN).is_none_or(|origin| origin == settings.name.as_bytes())
        && headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin")
}

/// A subject of which nobody else's can be made, and claims that fit into a token.
fn is_fit(person: &Person) -> bool {
    let subject = &person.subject;
    let short = (1..=256).contains(&subject.len()) && !subject.chars().any(char::is_control);
    let taken = ["client:", "key:"].iter().any(|others| subject.starts_with(others));
    short && !taken && serde_json::to_string(&person.claims).is_ok_and(|text| text.len() <= TOLD)
}
