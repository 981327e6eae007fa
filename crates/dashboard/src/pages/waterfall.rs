//! The spans of a trace below one another, each under the one that caused it, with a bar for its time.

mod details;

use madang_wire::trace::{SpanView, TraceView};
use maud::{Markup, html};
use serde_json::Value;

use crate::format;

/// How deep spans are indented at most; what is deeper stands as deep as that.
const DEEPEST: usize = 12;

/// How wide the time of the whole trace is drawn, in units of its picture.
const WIDTH: u64 = 1000;

/// A trace as a table.
pub(super) fn draw(view: &TraceView) -> Markup {
    let (start, end) = view.bounds();
    let whole = (end - start).max(1);
    html! {
        div.scroll {
            table.waterfall {
                caption.hidden { "Spans, each below the one that caused it" }
                thead { tr {
                    th scope="col" { "Span" } th scope="col" { "Service" } th scope="col" { "Release" } th scope="col" { "Outcome" }
                    th.number scope="col" { "Duration" } th scope="col" { "Time, from 0 to " (format::took(whole)) }
                } }
                tbody { @for (depth, span) in view.in_order() { (row(depth, span, start, whole)) } }
            }
        }
    }
}

fn row(depth: usize, span: &SpanView, start: u64, whole: u64) -> Markup {
    let from = place(span.start_us.saturating_sub(start), whole).min(WIDTH - 2);
    let length = place(span.duration_us, whole).clamp(2, WIDTH - from);
    let depth = depth.min(DEEPEST);
    html! {
        tr id={ "span-" (span.span_id) } {
            th.name scope="row" {
                details.{ "d" (depth) } {
                    summary { @if span.error { span.bad { (span.name) " " span.badge.bad { "failed" } } } @else { (span.name) } }
                    (details::all(span, start))
                }
            }
            td { (span.service) @if let Some(peer) = &span.peer { " → " (format::service(peer)) } }
            td.mono.muted { (details::release(span).unwrap_or_default()) }
            td.muted { (note(span)) }
            td.number { (format::took(span.duration_us)) }
            td.bar {
                svg.bar viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" role="img"
                    aria-label={ "from " (format::took(span.start_us.saturating_sub(start))) } {
                    rect.(if span.error { "bad" } else { "span" }) x=(from) y="1" width=(length) height="8" {}
                }
            }
        }
    }
}

fn place(time: u64, whole: u64) -> u64 {
    (u128::from(time) * u128::from(WIDTH) / u128::from(whole)) as u64
}

/// What is worth knowing where something took long or went wrong.
fn note(span: &SpanView) -> String {
    let number = |name: &str| span.attributes.get(name).and_then(Value::as_u64);
    let text = |name: &str| span.attributes.get(name).and_then(Value::as_str);
    let status = number("http.response.status_code").map(|status| status.to_string());
    let unanswered =
        (span.attributes.contains_key("madang.hop") && status.is_none()).then(|| "no answer".to_owned());
    let notes = [
        status,
        unanswered,
        text("madang.code").map(str::to_owned),
        number("madang.attempts")
            .filter(|attempts| *attempts > 1)
            .map(|attempts| format!("{attempts} attempts")),
        number("madang.parked_us")
            .filter(|time| *time > 0)
            .map(|time| format!("waited {}", format::took(time))),
        text("madang.fallback").map(|which| format!("fallback {which}")),
        text("madang.cache").map(|which| format!("cache {which}")),
        text("madang.fault").map(|which| format!("fault {which}")),
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
