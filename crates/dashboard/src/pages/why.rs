//! Why a request went as it did: who is to blame, what says so and how far it goes, and what to do next.

mod sections;

use madang_wire::why::{Blame, Certainty, Outcome, WhyView};
use maud::{Markup, html};

use super::logs;
use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::{segment, with},
};

pub(super) async fn page(api: &Asked, id: &str) -> Answer<Page> {
    let view: WhyView = api.get(&format!("/v1/why/{}", segment(id))).await?;
    let trace = view.trace_id.to_string();
    let all = with("/logs", &[("trace", Some(&trace))]);
    let said = html! {
        h2 { "What was logged" }
        (logs::below(&view.logs, &all))
    };
    Ok(Page::new(Place::Traces, format!("Why {}", view.name), format!("madang why {trace}"))
        .part("verdict", verdict(&view))
        .part("next", sections::next(&view.next))
        .part("way", sections::way(&trace, &view.path))
        .part("evidence", sections::evidence(&trace, &view.evidence))
        .part("unseen", sections::unseen(&view.unseen))
        .part("changes", sections::changes(&view.changes))
        .part("lines", said)
        .part("time", sections::time(&view))
        .part("releases", sections::releases(&view.releases))
        .live(Live::Still))
}

fn verdict(view: &WhyView) -> Markup {
    let trace = view.trace_id.to_string();
    let class = match (view.outcome, view.certainty) {
        (Outcome::Well, _) => "good",
        (_, Certainty::None) => "busy",
        _ => "bad",
    };
    html! {
        p.bar {
            span { (format::ago(view.start_us / 1000)) }
            span.badge.(class) { (became(view.outcome)) }
            span { (answered(view)) " after " strong { (format::took(view.duration_us)) } }
            a #trace href={ "/traces/" (trace) } { "Its trace" }
            @if let Some(request) = &view.request_id { code.muted { (request) } }
        }
        div.verdict.(class) role="note" {
            p.said { (view.summary) }
            p #blame { (blame(&view.blame)) " " span.muted { (sure(view.certainty)) } }
        }
    }
}

fn became(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Well => "went well",
        Outcome::Slow => "was slow",
        Outcome::Refused => "was refused",
        Outcome::Failed => "failed",
        Outcome::Abandoned => "given up by its client",
    }
}

fn answered(view: &WhyView) -> Markup {
    html! {
        @match view.status { 0 => "no answer", status => { "answered " (status) } }
        @if let Some(code) = &view.code { " " code { (code) } }
    }
}

/// Who or what is to blame, with the way to it.
fn blame(blame: &Blame) -> Markup {
    html! {
        @match blame {
            Blame::Service { service, instance, release } => {
                "To blame: " strong { (format::service(service)) }
                @if let Some(instance) = instance { ", instance " code { (instance) } }
                @if let Some(release) = release { ", release " code { (release) } }
                "."
            }
            Blame::Fault { id, caller, callee } => {
                "To blame: the fault " code { (id) } " that was put on calls of " (format::service(caller)) " to " (format::service(callee))
                " on purpose."
            }
            Blame::Declaration { caller, callee } => {
                "To blame: the manifest, in which " (format::service(caller)) " does not declare that it calls " (format::service(callee)) "."
            }
            Blame::Request => "To blame: the request itself, which nobody could answer otherwise.",
            Blame::Nobody => "Nobody is to blame.",
            Blame::Unknown { suspects } => {
                strong { "It cannot be told who is to blame." }
                @if !suspects.is_empty() {
                    " It may be " @for (at, suspect) in suspects.iter().enumerate() {
                        @if at > 0 { " or " } (format::service(suspect))
                    } "."
                }
            }
        }
    }
}

fn sure(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => "Certain: nothing else explains what was seen.",
        Certainty::Likely => "Likely: the evidence speaks for it, and none against.",
        Certainty::None => "There is not enough evidence to blame anybody.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(one: &Blame) -> String {
        blame(one).into_string()
    }

    #[test]
    fn it_names_whom_the_verdict_names_and_says_when_it_cannot_tell() {
        let release = Some("ab12".to_owned());
        let service = Blame::Service {
            service: "payments".to_owned(),
            instance: Some("payments-x".to_owned()),
            release,
        };
        let said = shown(&service);
        assert!(said.contains("<strong><a href=\"/services/payments\">payments</a></strong>"), "{said}");
        assert!(said.contains("payments-x") && said.contains("ab12"), "{said}");
        let said = shown(&Blame::Unknown { suspects: vec!["users".to_owned(), "orders".to_owned()] });
        assert!(said.contains("It cannot be told who is to blame."), "{said}");
        assert!(said.contains("users</a> or <a"), "{said}");
        assert!(!shown(&Blame::Unknown { suspects: Vec::new() }).contains("It may be"));
    }
}
