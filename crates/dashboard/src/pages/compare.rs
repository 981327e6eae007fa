//! Two traces side by side: which steps one has and the other has not, and which took longer.

use std::collections::BTreeMap;

use madang_wire::trace::{SpanView, TraceView};
use maud::{Markup, html};

use super::waterfall;
use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::{Query, segment},
};

/// What the spans of one name add up to in a trace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    spans: u64,
    duration_us: u64,
    errors: u64,
}

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let ids: Vec<&str> = query.all("id").take(2).collect();
    let mut views = Vec::new();
    for id in &ids {
        views.push(api.get::<TraceView>(&format!("/v1/traces/{}", segment(id))).await?);
    }
    let command = ids.iter().map(|id| format!("madang trace {id}")).collect::<Vec<_>>().join("; ");
    let page = Page::new(
        Place::Traces,
        "Compare traces",
        if command.is_empty() { "madang traces".to_owned() } else { command },
    );
    let page = page.part("choice", choice(&ids));
    Ok(match views.as_slice() {
        [left, right] => page
            .part("steps", steps(left, right))
            .part("left", side("First", left))
            .part("right", side("Second", right)),
        _ => page.part(
            "hint",
            html! { p { "Tick two in the " a href="/traces" { "list of traces" } ", or paste their ids." } },
        ),
    }
    .live(Live::Still))
}

fn choice(ids: &[&str]) -> Markup {
    html! {
        form.filters method="get" action="/compare" {
            label { "First " input.id name="id" value=(ids.first().unwrap_or(&"")) pattern="[0-9a-f]{32}" required; }
            label { "Second " input.id name="id" value=(ids.get(1).unwrap_or(&"")) pattern="[0-9a-f]{32}" required; }
            button type="submit" { "Compare" }
        }
    }
}

fn side(title: &str, view: &TraceView) -> Markup {
    let id = view.trace_id.to_string();
    html! { h2 { (title) ": " (format::trace(&id)) } (waterfall::draw(view)) }
}

fn steps(left: &TraceView, right: &TraceView) -> Markup {
    let (before, after) = (sums(left), sums(right));
    let mut names: Vec<&(String, String)> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        div.scroll { table {
            caption.hidden { "Steps of the two traces" }
            thead { tr {
                th scope="col" { "Step" } th scope="col" { "Service" } th.number scope="col" { "First" }
                th.number scope="col" { "Second" } th.number scope="col" { "Difference" }
            } }
            tbody { @for name in names { (step(name, before.get(name), after.get(name))) } }
        } }
    }
}

fn step((service, name): &(String, String), left: Option<&Sum>, right: Option<&Sum>) -> Markup {
    let shown = |sum: Option<&Sum>| {
        html! {
            @match sum {
                None => "–",
                Some(sum) => {
                    (format::took(sum.duration_us))
                    @if sum.spans > 1 { " in " (sum.spans) }
                    @if sum.errors > 0 { " " span.bad { (sum.errors) " failed" } }
                }
            }
        }
    };
    html! { tr {
        th scope="row" { (name) } td { (service) }
        td.number { (shown(left)) } td.number { (shown(right)) }
        td.number { @if let (Some(left), Some(right)) = (left, right) { (difference(left.duration_us, right.duration_us)) } }
    } }
}

fn difference(left: u64, right: u64) -> String {
    if right >= left {
        format!("+{}", format::took(right - left))
    } else {
        format!("−{}", format::took(left - right))
    }
}

fn sums(view: &TraceView) -> BTreeMap<(String, String), Sum> {
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for SpanView { service, peer, name, duration_us, error, .. } in &view.spans {
        let way = peer.as_ref().map_or_else(|| service.clone(), |peer| format!("{service} → {peer}"));
        let sum = sums.entry((way, name.clone())).or_default();
        sum.spans += 1;
        sum.duration_us += duration_us;
        sum.errors += u64::from(*error);
    }
    sums
}
