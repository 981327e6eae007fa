//! The lines of all services together, as they come.

use madang_wire::{admin::ServiceView, log::LogLine};
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::{Query, with},
};

/// How many lines a page begins with.
const FIRST: usize = 200;

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let lines: Vec<LogLine> = api.all(&question(query, FIRST, false)).await?;
    let follow = with("/live/logs", &[("service", query.get("service"))]);
    Ok(Page::new(Place::Logs, "Logs", command(query))
        .part("filters", filters(query, &services))
        .part("lines", table(&lines))
        .live(Live::Lines(follow)))
}

/// What is asked of the API for the filters of a page.
pub(crate) fn question(query: &Query, lines: usize, follow: bool) -> String {
    let n = lines.to_string();
    let follow = if follow { Some("true") } else { None };
    with("/v1/logs", &[("n", Some(&n)), ("follow", follow), ("service", query.get("service"))])
}

fn command(query: &Query) -> String {
    let service = query.get("service").map(|service| format!(" {service}")).unwrap_or_default();
    format!("madang logs -f{service}")
}

fn filters(query: &Query, services: &[ServiceView]) -> Markup {
    let service = query.get("service");
    html! {
        form.filters method="get" action="/logs" {
            label { "Service " select name="service" {
                option value="" { "all" }
                @for one in services.iter().filter(|one| one.unit.is_some()) {
                    option value=(one.name) selected[service == Some(&one.name)] { (one.name) }
                }
            } }
            button type="submit" { "Filter" }
        }
    }
}

fn table(lines: &[LogLine]) -> Markup {
    html! {
        div.scroll.logs {
            table {
                caption.hidden { "Lines, newest last" }
                thead.hidden { tr { th scope="col" { "Time" } th scope="col" { "Instance" } th scope="col" { "Line" } } }
                tbody #tail { (rows(lines, 0)) }
            }
        }
    }
}

/// Lines as rows, after a note of how many are left out before them.
pub(crate) fn rows(lines: &[LogLine], skipped: usize) -> Markup {
    html! {
        @if skipped > 0 { tr { td colspan="3" .muted { (skipped) " lines came too quickly to be shown" } } }
        @for line in lines {
            tr {
                td.time { (format::clock(line.at)) }
                th scope="row" { (format::service(&line.unit)) }
                td.text { (line.line) }
            }
        }
    }
}
