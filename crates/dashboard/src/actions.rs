//! What the pages do: each asks first, with or without scripts, and goes through the API, which records who did it.

use axum::{
    Extension, Form,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use madang_model::UnitName;
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    Dashboard,
    api::Trouble,
    page::{self, Place},
    query::{segment, with},
    session::Session,
};

/// What can be done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    Restart,
    Stop,
    Start,
}

/// What a form asks for.
#[derive(Deserialize)]
pub(crate) struct Asked {
    verb: Verb,
    unit: String,
    /// The page to go back to.
    back: String,
    #[serde(default)]
    confirmed: String,
}

// === impl Verb ===

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Restart => "Restart",
            Self::Stop => "Stop",
            Self::Start => "Start",
        }
    }

    /// What will happen, so that whoever confirms it knows.
    fn question(self, unit: &str) -> String {
        match self {
            Self::Restart => format!(
                "Restart {unit}? It is built again, and new instances take the place of the old ones, which end their \
                 work first."
            ),
            Self::Stop => format!(
                "Stop {unit}? Its instances end their work and go. Calls to it are refused until somebody starts it."
            ),
            Self::Start => format!("Start {unit}?"),
        }
    }

    fn path(self, unit: &str) -> String {
        let unit = segment(unit);
        match self {
            Self::Restart => format!("/v1/restart/{unit}"),
            Self::Stop => format!("/v1/units/{unit}/stop"),
            Self::Start => format!("/v1/units/{unit}/start"),
        }
    }
}

/// A button that does something to a unit. A script fills in the secret of the session, as live parts are made for no
/// session alone; without scripts the question's own page has it.
pub(crate) fn button(verb: Verb, unit: &str, back: &str) -> Markup {
    html! {
        form.action method="get" action="/confirm" data-confirm=(verb.question(unit)) {
            input type="hidden" name="verb" value=(verb.word());
            input type="hidden" name="unit" value=(unit);
            input type="hidden" name="back" value=(back);
            button type="submit" aria-label={ (verb.label()) " " (unit) } { (verb.label()) }
        }
    }
}

/// The question on a page of its own, for browsers without scripts.
fn question(verb: Verb, unit: &str, back: &str, csrf: &str) -> Markup {
    html! {
        header.title { h1 { (verb.label()) " " (unit) } }
        p { (verb.question(unit)) }
        form method="post" action="/actions" {
            (page::secret(csrf))
            input type="hidden" name="verb" value=(verb.word());
            input type="hidden" name="unit" value=(unit);
            input type="hidden" name="back" value=(back);
            input type="hidden" name="confirmed" value="yes";
            div.buttons {
                a.button href=(local(back)) { "Cancel" }
                button.primary type="submit" { (verb.label()) }
            }
        }
    }
}

/// Asks, for browsers without scripts.
pub(crate) async fn confirm(
    State(dashboard): State<Dashboard>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Response {
    ask(&dashboard, &session, &asked).await
}

async fn ask(dashboard: &Dashboard, session: &Session, Asked { verb, unit, back, .. }: &Asked) -> Response {
    let body = question(*verb, unit, back, &session.csrf);
    let shell = dashboard.api.of(session).shell().await;
    page::plain(verb.label(), Place::Services, &shell, session, &body).into_response()
}

/// Does what was confirmed, and goes back.
pub(crate) async fn act(
    State(dashboard): State<Dashboard>,
    Extension(session): Extension<Session>,
    Form(asked): Form<Asked>,
) -> Response {
    if asked.confirmed != "yes" {
        return ask(&dashboard, &session, &asked).await;
    }
    let Asked { verb, unit, back, .. } = asked;
    let api = dashboard.api.of(&session);
    let done: Result<(), Trouble> = api.post(&verb.path(&unit)).await;
    match done {
        Ok(()) => {
            let done = format!("{}:{unit}", verb.word());
            Redirect::to(&with(local(&back), &[("done", Some(&done))])).into_response()
        }
        Err(trouble) => page::trouble(&trouble, &api.shell().await, &session).into_response(),
    }
}

/// A path of this dashboard and of nobody else, without a query.
fn local(back: &str) -> &str {
    let path = back.split(['?', '#']).next().unwrap_or_default();
    let plain = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    if plain { path } else { "/services" }
}

/// What was done, as `?done=` says it, if that says something that a form of these does.
pub(crate) fn done(said: &str) -> Option<String> {
    let (verb, unit) = said.split_once(':')?;
    let unit: UnitName = unit.parse().ok()?;
    match verb {
        "restart" => Some(format!("{unit} is being restarted.")),
        "stop" => Some(format!("{unit} is being stopped.")),
        "start" => Some(format!("{unit} is being started.")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_back_to_a_page_of_the_dashboard() {
        for (back, path) in [
            ("/services/users", "/services/users"),
            ("/services?x=1", "/services"),
            ("//evil.example", "/services"),
            ("/\\evil.example", "/services"),
            ("https://evil.example", "/services"),
            ("", "/services"),
        ] {
            assert_eq!(local(back), path, "{back}");
        }
    }

    #[test]
    fn a_notice_says_only_what_can_have_been_done() {
        assert_eq!(done("restart:users").as_deref(), Some("users is being restarted."));
        assert_eq!(done("restart:<b>users"), None);
        assert_eq!(done("pay:users"), None);
    }
}
