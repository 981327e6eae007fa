//! One trace: the way of a request through the system.

use madang_wire::trace::TraceView;
use maud::html;

use super::waterfall;
use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::{segment, with},
};

pub(super) async fn page(api: &Asked, id: &str) -> Answer<Page> {
    let view: TraceView = api.get(&format!("/v1/traces/{}", segment(id))).await?;
    let (start, end) = waterfall::bounds(&view);
    let errors = view.spans.iter().filter(|span| span.error).count();
    let name = view.spans.first().map_or("Trace", |span| span.name.as_str()).to_owned();
    let logs = with("/logs", &[("trace", Some(id))]);
    let summary = html! {
        p.bar {
            span { (format::ago(start / 1000)) }
            span { strong { (format::took(end - start)) } }
            span { (view.spans.len()) " spans" @if view.cut { " of more" } }
            @if errors > 0 { span.badge.bad { (errors) " failed" } } @else { span.badge.good { "no errors" } }
            a #logs href=(logs) { "Its log lines" }
            a href=(with("/compare", &[("id", Some(id))])) { "Compare" }
            code.muted { (view.trace_id) }
        }
    };
    Ok(Page::new(Place::Traces, name, format!("madang trace {}", view.trace_id))
        .part("summary", summary)
        .part("spans", waterfall::draw(&view))
        .live(Live::Still))
}
