//! The API explorer of a service: what its OpenAPI document says that it answers, each with a request to send through
//! the gateway.

mod document;

use madang_wire::{
    admin::SystemView,
    dashboard::{TryAnswer, TryRequest},
};
use maud::{Markup, html};

use self::document::{Operation, operations};
use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::{Query, segment},
    shell::quoted,
};

/// A request that was sent, with what became of it.
pub(crate) struct Tried {
    pub(crate) request: TryRequest,
    pub(crate) outcome: Result<TryAnswer, String>,
}

/// How a client reaches the gateway.
#[derive(Debug, Clone, Copy, Default)]
struct Gateway<'a> {
    url: &'a str,
    /// The file with who signs its certificate, if nobody knows them.
    authority: Option<&'a str>,
    /// The file with who signs those of clients, if each must have one.
    client_authorities: Option<&'a str>,
}

impl<'a> Gateway<'a> {
    fn of(system: &'a SystemView) -> Self {
        Self {
            url: &system.gateway,
            authority: system.authority.as_deref(),
            client_authorities: system.client_authorities.as_deref(),
        }
    }
}

/// The page. Its forms lack the secret of the session, which a script adds; without scripts a question asks first.
pub(super) async fn page(api: &Asked, name: &str, _query: &Query) -> Answer<Page> {
    with_answer(api, name, None).await
}

/// The page after a request was sent.
pub(crate) async fn with_answer(api: &Asked, name: &str, tried: Option<Tried>) -> Answer<Page> {
    let path = format!("/v1/services/{}", segment(name));
    // So that an unknown name is that, and no service without a document.
    let service: madang_wire::admin::ServiceView = api.get(&path).await?;
    let document: Option<serde_json::Value> = api.find(&format!("{path}/openapi")).await?;
    let operations = document.as_ref().map(operations).unwrap_or_default();
    let system = api.shell().await.system;
    let gateway = system.as_ref().map(Gateway::of).unwrap_or_default();
    let shown = tried.as_ref().map(|tried| &tried.request);
    let command = curl(
        &gateway,
        shown.unwrap_or(&TryRequest { path: first_path(&operations), ..TryRequest::default() }),
    );
    let closed = gateway.client_authorities.map(|authorities| closed(authorities, &command));
    let mut page = Page::new(Place::Services, format!("{} API", service.name), command).live(Live::Still);
    if let Some(closed) = closed {
        page = page.part("closed", closed);
    }
    if let Some(tried) = &tried {
        page = page.part("answer", answer(tried));
    }
    let described = document.is_some();
    page = page.part("own", html! {
        p { a href={ "/services/" (segment(name)) } { "Back to " (name) } }
        @if !described { p.muted { (name) " does not describe itself: it has no document at " code { "/openapi.json" } "." } }
        h2 { "A request of your own" }
        (form(name, shown.cloned().unwrap_or_else(|| TryRequest { path: "/".to_owned(), ..TryRequest::default() })))
    });
    Ok(page.part("operations", html! {
        @if described { h2 { "What it answers" } }
        @for operation in &operations {
            details.operation {
                summary { span.method { (operation.method) } " " code { (operation.path) } " " span.muted { (operation.summary) } }
                (form(name, operation.example()))
            }
        }
    }))
}

fn first_path(operations: &[Operation]) -> String {
    operations.iter().find(|one| one.method == "GET").map_or("/".to_owned(), |one| one.path.clone())
}

fn form(service: &str, request: TryRequest) -> Markup {
    let TryRequest { method, path, headers, body } = request;
    let method = method.unwrap_or_else(|| "GET".to_owned());
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    html! {
        form.try method="post" action={ "/services/" (segment(service)) "/try" } data-secret {
            div.row {
                label { "Method " select name="method" {
                    @for one in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
                        option selected[one == method] { (one) }
                    }
                } }
                label.wide { "Path " input name="path" value=(path) required; }
                button.primary type="submit" { "Send through the gateway" }
            }
            label { "Headers, one a line" textarea name="headers" rows="2" spellcheck="false" { (headers) } }
            label { "Body" textarea name="body" rows=(body.lines().count().clamp(2, 16)) spellcheck="false" { (body) } }
        }
    }
}

fn answer(tried: &Tried) -> Markup {
    let asked = format!("{} {}", tried.request.method.as_deref().unwrap_or("GET"), tried.request.path);
    html! {
        h2 { "Answer to " code { (asked) } }
        @match &tried.outcome {
            Err(why) => p.notice.bad role="alert" { (why) },
            Ok(answer) => {
                p.bar {
                    span.badge.(if answer.status < 400 { "good" } else { "bad" }) { (answer.status) }
                    span { (format::took(answer.duration_us)) }
                    span { "Trace " (format::trace(&answer.trace_id)) }
                }
                details { summary { (answer.headers.len()) " headers" }
                    pre { @for (name, value) in &answer.headers { (name) ": " (value) "\n" } } }
                pre.body { (pretty(&answer.body)) }
                @if answer.cut { p.muted { "There is more of it than is shown." } }
            }
        }
    }
}

fn pretty(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    json.and_then(|json| serde_json::to_string_pretty(&json).ok()).unwrap_or_else(|| body.to_owned())
}

/// Why nothing can be sent from here, and what can be done instead.
fn closed(authorities: &str, command: &str) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p { "The gateway lets nobody in without a certificate that the authorities in " code { (authorities) }
                " have signed, and this page has none. Send the request yourself, with the certificate and the key of a client:" }
            pre { (command) }
        }
    }
}

/// The command that sends the same.
fn curl(gateway: &Gateway<'_>, request: &TryRequest) -> String {
    let mut command = "curl".to_owned();
    if gateway.client_authorities.is_some() {
        command.push_str(" --cert client.pem --key client.key");
    }
    if let Some(authority) = gateway.authority {
        command.push_str(&format!(" --cacert {}", quoted(authority)));
    }
    if let Some(method) = request.method.as_deref().filter(|method| *method != "GET") {
        command.push_str(&format!(" -X {method}"));
    }
    for (name, value) in &request.headers {
        command.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
    }
    if !request.body.is_empty() {
        command.push_str(&format!(" -d {}", quoted(&request.body)));
    }
    format!("{command} {}", quoted(&format!("{}{}", gateway.url, request.path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_sends_the_same() {
        let request = TryRequest {
            method: Some("POST".into()),
            path: "/users?x=1".into(),
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            body: r#"{"name":"O'Hara"}"#.into(),
        };
        assert_eq!(
            curl(&Gateway { url: "http://127.0.0.1:3000", ..Gateway::default() }, &request),
            r#"curl -X POST -H 'content-type: application/json' -d '{"name":"O'\''Hara"}' 'http://127.0.0.1:3000/users?x=1'"#
        );
    }

    #[test]
    fn where_clients_need_a_certificate_it_is_said_and_the_command_has_one() {
        let gateway = Gateway {
            url: "https://127.0.0.1:3443",
            authority: Some("/shop/.madang/tls/ca.pem"),
            client_authorities: Some("/shop/<clients>.pem"),
        };
        let command = curl(&gateway, &TryRequest { path: "/users".into(), ..TryRequest::default() });
        assert_eq!(
            command,
            "curl --cert client.pem --key client.key --cacert '/shop/.madang/tls/ca.pem' 'https://127.0.0.1:3443/users'"
        );
        let said = closed("/shop/<clients>.pem", &command).into_string();
        assert!(said.contains("/shop/&lt;clients&gt;.pem") && said.contains("--cert client.pem"), "{said}");
    }
}
