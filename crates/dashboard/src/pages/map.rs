//! The map: who calls whom, with how much, how fast and how well.

mod draw;
mod graph;

use madang_wire::{
    admin::{RouteView, ServiceView},
    metrics::{EdgeFlow, Flow, GATEWAY, LISTENER, MetricsSummary},
};
use maud::{Markup, html};

use self::graph::Graph;
use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
    query::{Query, with},
};

/// The windows that can be chosen, the usual first.
const WINDOWS: [&str; 4] = ["10s", "1m", "5m", "1h"];

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let window = WINDOWS.into_iter().find(|one| query.get("window") == Some(one)).unwrap_or(WINDOWS[0]);
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let routes: Vec<RouteView> = api.get("/v1/routes").await?;
    let summary: MetricsSummary = api.get(&with("/v1/metrics/summary", &[("window", Some(window))])).await?;
    let edges = edges(&services, &routes, &summary);
    let graph = Graph::new(&services, &edges);
    Ok(Page::new(Place::Map, "Map", "madang map")
        .part("windows", windows(window))
        .part("total", total(&summary.total, window))
        .part("map", html! { div.scroll.map { (draw::draw(&graph, &services, &edges, &summary)) } })
        .part("edges", table(&edges)))
}

/// A way from one to another, and what went over it lately.
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    /// Absent if nothing did.
    pub(super) flow: Option<Flow>,
}

impl Edge {
    /// The traces of what failed on this way, or if nothing did of all that went over it.
    pub(super) fn traces(&self) -> String {
        let error = self.failed().then_some("true");
        // Whoever calls a listener from outside of the system has no name.
        let caller = (self.from != LISTENER).then_some(&*self.from);
        with("/traces", &[("service", Some(&self.to)), ("caller", caller), ("error", error)])
    }

    /// What is drawn over what: 0 where nothing went, 1 where all went well, 2 where something failed.
    pub(super) fn order(&self) -> u8 {
        match &self.flow {
            Some(flow) if flow.errors > 0 => 2,
            Some(flow) if flow.requests > 0 => 1,
            _ => 0,
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.errors > 0)
    }

    /// What went over it, in few words: how much, and how well or how fast.
    pub(super) fn said(&self) -> String {
        let Some(flow) = self.flow.as_ref().filter(|flow| flow.requests > 0) else {
            return "no traffic".to_owned();
        };
        let how = match flow.p95_us {
            _ if flow.errors > 0 => format!(" · {} failed", format::share(flow.error_ratio)),
            Some(p95) => format!(" · {}", format::took(p95)),
            None => String::new(),
        };
        format!("{}{how}", format::rate(flow.rate))
    }
}

/// What the manifest declares, and what is not declared and happened nevertheless.
fn edges(services: &[ServiceView], routes: &[RouteView], summary: &MetricsSummary) -> Vec<Edge> {
    let mut ways: Vec<(String, String)> = Vec::new();
    let targets = routes.iter().flat_map(|route| &route.to).filter(|target| target.weight > 0);
    ways.extend(targets.map(|target| (GATEWAY.to_owned(), target.service.clone())));
    for service in services {
        ways.extend(service.calls.iter().map(|callee| (service.name.clone(), callee.clone())));
    }
    let known = |name: &str| services.iter().any(|service| service.name == name);
    let seen = summary.edges.iter().filter(|edge| {
        known(&edge.callee) && (known(&edge.caller) || edge.caller == LISTENER || edge.caller == GATEWAY)
    });
    ways.extend(seen.map(|EdgeFlow { caller, callee, .. }| (caller.clone(), callee.clone())));
    ways.sort();
    ways.dedup();
    let flow = |from: &str, to: &str| {
        let edge = summary.edges.iter().find(|edge| edge.caller == from && edge.callee == to);
        edge.map(|edge| edge.flow.clone())
    };
    ways.into_iter().map(|(from, to)| Edge { flow: flow(&from, &to), from, to }).collect()
}

fn windows(window: &str) -> Markup {
    html! {
        form.filters method="get" action="/" {
            label { "The last " select name="window" {
                @for one in WINDOWS { option selected[one == window] { (one) } }
            } }
            button type="submit" { "Show" }
        }
    }
}

fn total(flow: &Flow, window: &str) -> Markup {
    let quantile = |value: Option<u64>| value.map_or("–".to_owned(), format::took);
    html! {
        dl.totals {
            div { dt { "Requests" } dd { (format::rate(flow.rate)) } }
            div { dt { "Failed" } dd.{ @if flow.errors > 0 { "bad" } } { (format::share(flow.error_ratio)) } }
            div { dt { "p50" } dd { (quantile(flow.p50_us)) } }
            div { dt { "p95" } dd { (quantile(flow.p95_us)) } }
            div { dt { "p99" } dd { (quantile(flow.p99_us)) } }
            div { dt { "Window" } dd { (window) } }
        }
    }
}

/// The same for who reads no pictures.
fn table(edges: &[Edge]) -> Markup {
    let quantile = |value: Option<u64>| value.map_or("–".to_owned(), format::took);
    html! {
        details {
            summary { "As a table" }
            div.scroll { table {
                caption.hidden { "Calls between services" }
                thead { tr {
                    th scope="col" { "From" } th scope="col" { "To" } th.number scope="col" { "Rate" }
                    th.number scope="col" { "Failed" } th.number scope="col" { "p50" } th.number scope="col" { "p95" }
                    th scope="col" { "Traces" }
                } }
                tbody { @for edge in edges {
                    @let flow = edge.flow.clone().unwrap_or_default();
                    tr id={ "way-" (edge.from) "-" (edge.to) } {
                        th scope="row" { (edge.from) } td { (format::service(&edge.to)) }
                        td.number { (format::rate(flow.rate)) }
                        td.number { span.{ @if flow.errors > 0 { "bad" } } { (format::share(flow.error_ratio)) } }
                        td.number { (quantile(flow.p50_us)) } td.number { (quantile(flow.p95_us)) }
                        td { a href=(edge.traces()) aria-label={ "Traces of " (edge.from) " to " (edge.to) } { "Traces" } }
                    }
                } }
            } }
        }
    }
}
