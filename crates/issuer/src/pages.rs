//! The pages of the issuer: a form to log in, and a sentence where there is nothing to ask.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

/// The only style there is; it is a file of its own, so that pages need no exception from their policy.
pub(crate) const STYLE: &str = include_str!("pages/style.css");

/// What a log-in form shows.
pub(crate) struct LogIn<'a> {
    pub(crate) client: &'a str,
    pub(crate) system: &'a str,
    pub(crate) ticket: &'a str,
    /// The name that was typed before.
    pub(crate) login: &'a str,
    pub(crate) why: Option<&'a str>,
    /// Where it may lead: browsers hold what a form leads to against the policy of its page.
    pub(crate) back: &'a str,
}

impl LogIn<'_> {
    pub(crate) fn page(&self, status: StatusCode) -> Response {
        let body = html! {
            h1 { "Log in" }
            p { "to " strong { (self.system) } " for " strong { (self.client) } }
            @if let Some(why) = self.why { p.notice role="alert" { (why) } }
            form method="post" action="/login" {
                input type="hidden" name="ticket" value=(self.ticket);
                label for="login" { "Name" }
                input #login name="login" value=(self.login) autocomplete="username" maxlength="200" required
                    autofocus[self.login.is_empty()];
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password" maxlength="1024" required
                    autofocus[!self.login.is_empty()];
                button type="submit" { "Log in" }
            }
        };
        page("Log in", status, &body, origin(self.back))
    }
}

/// A page that says something.
pub(crate) fn say(status: StatusCode, title: &str, sentence: &str) -> Response {
    page(title, status, &html! { h1 { (title) } p { (sentence) } }, "")
}

fn page(title: &str, status: StatusCode, body: &Markup, leads_to: &str) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Madang" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
            }
            body { main { (body) } }
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self' {leads_to}"
    );
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // So that a form says which page it comes from, and nobody else what was asked for.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, page).into_response()
}

/// The scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_origins() {
        assert_eq!(origin("http://127.0.0.1:3000/.madang/callback"), "http://127.0.0.1:3000");
        assert_eq!(origin("https://app.example?a=b"), "https://app.example");
    }
}
