//! What a verdict rests on and leads to, each a table of its own, and nothing where there is nothing.

use madang_wire::{
    admin::Event,
    why::{Evidence, ReleaseView, Step, Suggestion, WhyView},
};
use maud::{Markup, html};

use crate::{format, page::copy, pages::events};

pub(super) fn next(next: &[Suggestion]) -> Markup {
    html! {
        @if !next.is_empty() {
            h2 { "What to do next" }
            ul.plain.next {
                @for Suggestion { command, why } in next { li { (copy(command)) " " span.muted { (why) } } }
            }
        }
    }
}

/// The calls from outside to the one that decides.
pub(super) fn way(trace: &str, path: &[Step]) -> Markup {
    html! {
        @if !path.is_empty() {
            h2 { "The way" }
            div.scroll { table {
                caption.hidden { "Calls from outside to the one that decides" }
                thead { tr {
                    th scope="col" { "From" } th scope="col" { "To" } th scope="col" { "Call" } th scope="col" { "Answer" }
                    th.number scope="col" { "Attempts" } th.number scope="col" { "Duration" }
                } }
                tbody { @for step in path { (one_step(trace, step)) } }
            } }
        }
    }
}

fn one_step(trace: &str, step: &Step) -> Markup {
    html! { tr {
        td { (step.caller) }
        td { @if let Some(callee) = &step.callee { (format::service(callee)) } @else { "–" } }
        th scope="row" { a href={ "/traces/" (trace) "#span-" (step.span_id) } { (step.name) } }
        td {
            @match step.status {
                0 => span.badge.bad { "none" },
                status => span.badge.(if status < 400 { "good" } else { "bad" }) { (status) },
            }
            @if let Some(code) = &step.code { " " code { (code) } }
        }
        td.number { (step.attempts) }
        td.number { (format::took(step.duration_us)) }
    } }
}

pub(super) fn evidence(trace: &str, evidence: &[Evidence]) -> Markup {
    html! {
        @if !evidence.is_empty() {
            h2 { "Evidence" }
            ul.plain {
                @for Evidence { at_us, span_id, text } in evidence {
                    li {
                        span.muted { (format::clock(at_us / 1000)) } " " (text)
                        @if let Some(span) = span_id {
                            " " a href={ "/traces/" (trace) "#span-" (span) } aria-label={ "The span of: " (text) } { "span" }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn unseen(unseen: &[String]) -> Markup {
    html! {
        @if !unseen.is_empty() {
            h2 { "What could not be seen" }
            ul.plain { @for one in unseen { li { (one) } } }
        }
    }
}

pub(super) fn changes(changes: &[Event]) -> Markup {
    html! {
        h2 { "What changed before" }
        @if changes.is_empty() { p.muted { "Nothing that is known of." } } @else {
            div.scroll { table {
                caption.hidden { "What changed before, of whoever is to blame and of the system" }
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Details" }
                } }
                tbody { @for event in changes { tr {
                    td { (format::ago(event.at)) }
                    th scope="row" { (event.instance.as_deref().unwrap_or(&event.unit)) }
                    td { (events::kind(event.kind)) }
                    td { (event.headline()) }
                } } }
            } }
        }
    }
}

/// Where the time went; of no interest if all of it went to one place.
pub(super) fn time(view: &WhyView) -> Markup {
    let whole = view.duration_us.max(1);
    html! {
        @if view.shares.len() > 1 {
            h2 { "Where the time went" }
            div.scroll { table {
                caption.hidden { "Time by service, without that of its calls" }
                thead { tr {
                    th scope="col" { "Service" } th.number scope="col" { "Itself" } th.number scope="col" { "Share" }
                    th.number scope="col" { "Of it waiting" } th scope="col" { span.hidden { "Length" } }
                } }
                tbody { @for share in &view.shares { tr {
                    th scope="row" { (share.service) }
                    td.number { (format::took(share.self_us)) }
                    td.number { (format::share(share.self_us as f64 / whole as f64)) }
                    td.number { @if share.parked_us > 0 { (format::took(share.parked_us)) } @else { "–" } }
                    td.bar { svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                        rect.span x="0" y="0" width=((share.self_us.saturating_mul(100) / whole).clamp(1, 100)) height="8" {}
                    } }
                } } }
            } }
        }
    }
}

pub(super) fn releases(releases: &[ReleaseView]) -> Markup {
    html! {
        @if !releases.is_empty() {
            h2 { "How its releases behave" }
            div.scroll { table {
                caption.hidden { "Releases of whoever is to blame, the latest first" }
                thead { tr {
                    th scope="col" { "Release" } th.number scope="col" { "Requests" } th.number scope="col" { "Failed" }
                    th.number scope="col" { "p50" } th.number scope="col" { "p99" }
                } }
                tbody { @for one in releases { tr {
                    th scope="row" { code { (one.release) } }
                    td.number { (one.requests) }
                    td.number { span.{ @if one.errors > 0 { "bad" } } { (format::share(one.errors as f64 / one.requests.max(1) as f64)) } }
                    td.number { (format::took(one.p50_us)) } td.number { (format::took(one.p99_us)) }
                } } }
            } }
        }
    }
}
