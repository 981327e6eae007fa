//! The newest traces.

use madang_wire::{
    admin::{RouteView, ServiceView},
    metrics::GATEWAY,
    trace::{NotKept, TraceList, TraceSummary},
};
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
    query::{Query, with},
};

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let routes: Vec<RouteView> = api.get("/v1/routes").await?;
    let list: TraceList = api.get(&question(query)).await?;
    Ok(Page::new(Place::Traces, "Traces", command(query))
        .part("filters", filters(query, &services, &routes))
        .part("traces", table(&list.traces))
        .part("not-kept", not_kept(&list.not_kept)))
}

fn slow(query: &Query) -> Option<u64> {
    query.parsed::<u64>("slow").filter(|millis| *millis > 0)
}

/// Who called: a question only beside whom.
fn caller(query: &Query) -> Option<&str> {
    query.get("service").and(query.get("caller"))
}

fn question(query: &Query) -> String {
    let slow = slow(query).map(|millis| millis.saturating_mul(1000).to_string());
    let error = query.is_set("error").then_some("true");
    with(
        "/v1/traces",
        &[
            ("limit", Some("100")),
            ("error", error),
            ("slow_us", slow.as_deref()),
            ("service", query.get("service")),
            ("caller", caller(query)),
            ("route", query.get("route")),
        ],
    )
}

fn command(query: &Query) -> String {
    let mut command = "madang traces".to_owned();
    if query.is_set("error") {
        command.push_str(" --error");
    }
    if let Some(slow) = slow(query) {
        command.push_str(&format!(" --slow {slow}ms"));
    }
    if let Some(service) = query.get("service") {
        command.push_str(&format!(" --service {service}"));
    }
    if let Some(caller) = caller(query) {
        command.push_str(&format!(" --caller {caller}"));
    }
    if let Some(route) = query.get("route") {
        command.push_str(&format!(" --route '{route}'"));
    }
    command
}

fn filters(query: &Query, services: &[ServiceView], routes: &[RouteView]) -> Markup {
    let names = || services.iter().map(|one| one.name.as_str()).chain([GATEWAY]);
    let mut paths: Vec<&str> = routes.iter().map(|route| route.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    html! {
        form.filters method="get" action="/traces" {
            label { "Service " (choice(query, "service", "all", names())) }
            label { "called by " (choice(query, "caller", "any", names())) }
            label { "Route " (choice(query, "route", "all", paths)) }
            label { "At least " input.short type="number" name="slow" min="0" value=[slow(query)]; " ms" }
            label.tick { input type="checkbox" name="error" value="true" checked[query.is_set("error")]; " with errors" }
            button type="submit" { "Filter" }
        }
    }
}

fn choice<'a>(query: &Query, name: &str, all: &str, values: impl IntoIterator<Item = &'a str>) -> Markup {
    let chosen = query.get(name);
    html! {
        select name=(name) {
            option value="" { (all) }
            @for value in values { option value=(value) selected[chosen == Some(value)] { (value) } }
        }
    }
}

fn table(traces: &[TraceSummary]) -> Markup {
    let longest = traces.iter().map(|trace| trace.duration_us).max().unwrap_or(1).max(1);
    html! {
        form method="get" action="/compare" {
            div.scroll {
                table {
                    caption.hidden { "Traces, newest first" }
                    thead { tr {
                        th scope="col" { span.hidden { "Compare" } } th scope="col" { "Time" } th scope="col" { "Trace" }
                        th scope="col" { "Name" } th scope="col" { "Service" } th.number scope="col" { "Spans" }
                        th.number scope="col" { "Errors" } th scope="col" { span.hidden { "Why" } } th.number scope="col" { "Duration" } th scope="col" { span.hidden { "Length" } }
                    } }
                    tbody { @for trace in traces { (row(trace, longest)) } }
                }
            }
            @if traces.is_empty() { p {
                "No such trace is kept. A request through the gateway leaves one, within seconds. "
                a href="/traces" { "All traces" }
            } } @else {
                div.buttons { button type="submit" { "Compare the two that are ticked" } }
            }
        }
    }
}

fn row(trace: &TraceSummary, longest: u64) -> Markup {
    let id = trace.trace_id.to_string();
    let width = trace.duration_us.saturating_mul(100) / longest;
    html! {
        tr id={ "trace-" (id) } {
            td { input type="checkbox" name="id" value=(id) aria-label={ "Compare " (trace.name) " " (id.get(..8).unwrap_or(&id)) }; }
            td { (format::ago(trace.start_us / 1000)) }
            td { (format::trace(&id)) }
            th scope="row" { a href={ "/traces/" (id) } { (trace.name) } }
            td { (trace.service) }
            td.number { (trace.spans) }
            td.number { @if trace.errors > 0 { span.bad { (trace.errors) } } @else { "0" } }
            td { @if trace.errors > 0 { a href={ "/why/" (id) } aria-label={ "Why " (trace.name) " " (id.get(..8).unwrap_or(&id)) } { "why" } } }
            td.number { (format::took(trace.duration_us)) }
            td.bar { svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                rect.(if trace.errors > 0 { "bad" } else { "span" }) x="0" y="0" width=(width.max(1)) height="8" {}
            } }
        }
    }
}

fn not_kept(not_kept: &NotKept) -> Markup {
    let NotKept { sampled, overflow, unwritten, unrecorded } = *not_kept;
    html! {
        @if sampled + overflow + unwritten + unrecorded > 0 {
            p.muted {
                "Spans not kept since the start: " (sampled) " outside of the sample, " (overflow)
                " failed or slow beyond what could be held, " (unwritten) " that could not be written, " (unrecorded)
                " of requests without a record."
            }
        }
    }
}
