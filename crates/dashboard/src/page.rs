//! What all pages look like: where one is, what the system is, the command that says the same, and the parts of which
//! some are live.

use http::StatusCode;
use madang_wire::admin::SystemView;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    actions,
    api::Trouble,
    query::Query,
    session::{CSRF, Session},
};

/// What every page shows of the system.
pub(crate) struct Shell {
    /// Absent if the node could not say.
    pub(crate) system: Option<SystemView>,
}

/// A page.
pub(crate) struct Page {
    pub(crate) title: String,
    /// Which of the places of the navigation it belongs to.
    pub(crate) place: Place,
    /// The command that says the same.
    pub(crate) command: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) live: Live,
}

/// A part of a page, which is replaced as a whole when it changes.
pub(crate) struct Part {
    pub(crate) id: &'static str,
    pub(crate) content: Markup,
}

/// How a page follows what happens.
pub(crate) enum Live {
    /// Its parts are made anew as time goes by.
    Parts,
    /// Lines come to its end, from this path.
    Lines(String),
    /// Not at all.
    Still,
}

/// A place of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Map,
    Services,
    Logs,
    Traces,
    Metrics,
    Routes,
    Events,
    Audit,
}

/// An entry of the navigation.
struct Entry {
    place: Place,
    name: &'static str,
    path: &'static str,
    /// The key that leads there after a `g`.
    key: &'static str,
}

const fn entry(place: Place, name: &'static str, path: &'static str, key: &'static str) -> Entry {
    Entry { place, name, path, key }
}

/// The places in their order, in groups: what runs, what it did, and what happened to it.
const PLACES: &[(&str, &[Entry])] = &[
    (
        "System",
        &[
            entry(Place::Map, "Map", "/", "m"),
            entry(Place::Services, "Services", "/services", "s"),
            entry(Place::Routes, "Routes", "/routes", "r"),
        ],
    ),
    (
        "Telemetry",
        &[
            entry(Place::Logs, "Logs", "/logs", "l"),
            entry(Place::Traces, "Traces", "/traces", "t"),
            entry(Place::Metrics, "Metrics", "/charts", "x"),
        ],
    ),
    (
        "History",
        &[entry(Place::Events, "Events", "/events", "e"), entry(Place::Audit, "Audit", "/audit", "a")],
    ),
];

// === impl Page ===

impl Page {
    pub(crate) fn new(place: Place, title: impl Into<String>, command: impl Into<String>) -> Self {
        Self { title: title.into(), place, command: command.into(), parts: Vec::new(), live: Live::Parts }
    }

    #[must_use]
    pub(crate) fn part(mut self, id: &'static str, content: Markup) -> Self {
        self.parts.push(Part { id, content });
        self
    }

    #[must_use]
    pub(crate) fn live(mut self, live: Live) -> Self {
        self.live = live;
        self
    }

    /// The page as a browser gets it first.
    pub(crate) fn whole(&self, shell: &Shell, session: &Session, query: &Query) -> Markup {
        let live = match &self.live {
            Live::Parts => Some("parts"),
            Live::Lines(_) => Some("lines"),
            Live::Still => None,
        };
        let lines = match &self.live {
            Live::Lines(path) => Some(path.as_str()),
            _ => None,
        };
        let body = html! {
            header.title {
                h1 { (self.title) }
                (copy(&self.command))
                @if live.is_some() {
                    button #pause type="button" aria-pressed="false" title="Stop following (p)" { "Pause" }
                    noscript { a href="" { "Load it again" } }
                }
            }
            @if let Some(done) = query.get("done").and_then(actions::done) {
                p.notice role="status" { (done) }
            }
            @for part in &self.parts {
                section id=(part.id) data-part { (part.content) }
            }
        };
        document(&self.title, Some(self.place), shell, session, (live, lines), &body)
    }
}

/// The page of an answer that is none.
pub(crate) fn trouble(trouble: &Trouble, shell: &Shell, session: &Session) -> (StatusCode, Markup) {
    let body = html! {
        header.title { h1 { (trouble.title) } }
        p { (trouble.detail) }
        @if let Some(code) = &trouble.code { p.muted { "The code is " code { (code) } "." } }
        p { a href="/" { "Back to the map" } }
    };
    (trouble.status, document(&trouble.title, None, shell, session, (None, None), &body))
}

/// A page without parts, such as a question.
pub(crate) fn plain(title: &str, place: Place, shell: &Shell, session: &Session, body: &Markup) -> Markup {
    document(title, Some(place), shell, session, (None, None), body)
}

/// The field without which no form of a session does anything.
pub(crate) fn secret(session: &str) -> Markup {
    html! { input type="hidden" name=(CSRF) value=(session); }
}

/// A command with the button that copies it.
pub(crate) fn copy(command: &str) -> Markup {
    html! {
        span.command title="The command that says the same" {
            code { (command) }
            button.copy type="button" data-copy=(command) aria-label={ "Copy: " (command) } { "Copy" }
        }
    }
}

fn document(
    title: &str,
    place: Option<Place>,
    shell: &Shell,
    session: &Session,
    (live, lines): (Option<&str>, Option<&str>),
    body: &Markup,
) -> Markup {
    let name = shell.system.as_ref().map_or("madang", |system| system.name.as_str());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="csrf" content=(session.csrf);
                title { (title) " – " (name) }
                link rel="icon" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/style.css";
                script type="module" src="/assets/main.js" {}
            }
            body data-live=[live] data-lines=[lines] {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.home href="/" { (name) }
                    @if let Some(system) = &shell.system { (state(system)) }
                    span #connection role="status" aria-live="polite" {}
                    span.tools {
                        button #theme type="button" title="Light, dark, or as the system (d)" { "Theme" }
                        button #help type="button" title="Keys (?)" { "Keys" }
                        form method="post" action="/logout" { button type="submit" { "Log out" } }
                    }
                }
                nav aria-label="Pages" {
                    @for (group, places) in PLACES {
                        h2 { (group) }
                        ul {
                            @for Entry { place: one, name, path, key } in *places {
                                li {
                                    a href=(path) data-key=(key) aria-current=[(place == Some(*one)).then_some("page")] { (name) }
                                }
                            }
                        }
                    }
                }
                main #main tabindex="-1" {
                    @if let Some(system) = &shell.system { (warnings(system)) }
                    (body)
                }
                (PreEscaped(DIALOGS))
            }
        }
    }
}

fn state(system: &SystemView) -> Markup {
    html! {
        @if let Some(name) = &system.isolated { span.badge { "isolated " (name) } }
        span.badge.(if system.ready { "good" } else { "busy" }) { (if system.ready { "ready" } else { "not ready" }) }
        a.muted.gateway href=(system.gateway) { (system.gateway.trim_start_matches("http://")) }
    }
}

fn warnings(system: &SystemView) -> Markup {
    html! {
        @if let Some(error) = &system.manifest_error {
            div.notice.bad role="alert" { strong { "The manifest as edited is not in force." } pre { (error) } }
        }
        @if let Some(degraded) = &system.degraded {
            div.notice.bad role="alert" { strong { "Degraded." } " " (degraded) }
        }
    }
}

/// What scripts fill in.
const DIALOGS: &str = r#"<dialog id="confirm" aria-labelledby="confirm-text"><form method="dialog">
<p id="confirm-text"></p><div class="buttons"><button value="no">Cancel</button>
<button value="yes" class="primary">Confirm</button></div></form></dialog>
<dialog id="keys" aria-labelledby="keys-title"><form method="dialog"><h2 id="keys-title">Keys</h2><dl>
<dt><kbd>g</kbd> then …</dt><dd id="keys-places"></dd><dt><kbd>/</kbd></dt><dd>search or filter</dd>
<dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next and previous row</dd><dt><kbd>p</kbd></dt><dd>pause, or follow again</dd>
<dt><kbd>d</kbd></dt><dd>light or dark</dd><dt><kbd>c</kbd></dt><dd>copy the command</dd>
<dt><kbd>?</kbd></dt><dd>this</dd></dl><div class="buttons"><button>Close</button></div></form></dialog>"#;
