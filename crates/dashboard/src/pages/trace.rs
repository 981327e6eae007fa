//! One trace: the way of a request through the system, and what was logged on it.

use madang_wire::{log::LogLine, trace::TraceView};
use maud::html;

use super::{logs, waterfall};
use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::{segment, with},
};

/// How many lines are shown below it.
const LINES: usize = 100;

pub(super) async fn page(api: &Asked, id: &str) -> Answer<Page> {
    let view: TraceView = api.get(&format!("/v1/traces/{}", segment(id))).await?;
    let n = LINES.to_string();
    let trace = view.trace_id.to_string();
    let lines: Vec<LogLine> = api.all(&with("/v1/logs", &[("trace", Some(&trace)), ("n", Some(&n))])).await?;
    let (start, end) = view.bounds();
    let errors = view.spans.iter().filter(|span| span.error).count();
    // A call may fail and the request go well, by another attempt or without it.
    let failed = view.spans.first().is_some_and(|span| span.error);
    let name = view.spans.first().map_or("Trace", |span| span.name.as_str()).to_owned();
    let summary = html! {
        p.bar {
            span { (format::ago(start / 1000)) }
            span { strong { (format::took(end - start)) } }
            span { (view.spans.len()) @if view.spans.len() == 1 { " span" } @else { " spans" } @if view.cut { " of more" } }
            @if errors > 0 { span.badge.bad { (errors) " failed" } } @else { span.badge.good { "no errors" } }
            a #why href={ "/why/" (trace) } { @if failed { "Why it failed" } @else { "Why it went so" } }
            a href=(with("/compare", &[("id", Some(&trace))])) { "Compare" }
            code.muted { (trace) }
        }
    };
    let below = html! {
        h2 { "What was logged in it" }
        (logs::below(&lines, &with("/logs", &[("trace", Some(&trace))])))
    };
    Ok(Page::new(Place::Traces, name, format!("madang trace {trace}"))
        .part("summary", summary)
        .part("spans", waterfall::draw(&view))
        .part("lines", below)
        .live(Live::Still))
}
