//! The lines of all services together: those that come, and those that are kept, by who wrote them, how bad they are,
//! what they say and the trace that they belong to.

mod filter;
mod rows;

use madang_wire::{admin::ServiceView, log::LogLine};
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Live, Page, Place},
    query::Query,
};

pub(crate) use filter::Filter;
pub(crate) use rows::rows;

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let filter = Filter::of(query);
    let page = Page::new(Place::Logs, "Logs", filter.command()).part("filters", filter.form(&services));
    // One more than is shown, to know whether there are older ones.
    let mut lines: Vec<LogLine> = match api.all(&filter.question(filter.lines + 1, false)).await {
        Ok(lines) => lines,
        // A filter that finds nobody is for who wrote it to mend, with the form at hand.
        Err(trouble) if trouble.status.is_client_error() => {
            let said =
                html! { p.notice.bad role="alert" { (trouble.detail) } p { a href="/logs" { "All lines" } } };
            return Ok(page.part("lines", said).live(Live::Still));
        }
        Err(trouble) => return Err(trouble),
    };
    let more = lines.len().checked_sub(filter.lines).filter(|more| *more > 0);
    lines.drain(..more.unwrap_or(0));
    let older = more.and_then(|_| filter.older(&lines));
    let page =
        page.part("range", range(&filter, &lines, older.as_deref())).part("lines", table(&filter, &lines));
    Ok(match filter.until {
        Some(_) => page.live(Live::Still),
        None => page.live(Live::Lines(filter.address("/live/logs"))),
    })
}

/// From when to when the lines are, and the ways to older and newer ones.
fn range(filter: &Filter, lines: &[LogLine], older: Option<&str>) -> Markup {
    html! {
        p.bar {
            @if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                span { (lines.len()) @if lines.len() == 1 { " line" } @else { " lines" } " from " (format::moment(first.at))
                    @if filter.until.is_some() { " to " (format::moment(last.at)) } @else { " on" } }
            }
            @if let Some(older) = older { a #older href=(older) { "Older lines" } }
            @if filter.until.is_some() { a #newest href=(filter.newest()) { "Newest lines" } }
        }
    }
}

fn table(filter: &Filter, lines: &[LogLine]) -> Markup {
    html! {
        div.scroll.logs {
            table {
                caption.hidden { "Lines, newest last" }
                (rows::head())
                tbody #tail { (rows(lines, 0)) }
            }
        }
        @if lines.is_empty() {
            p #none {
                @if filter.is_empty() {
                    "Nobody has said anything yet. What services write on their output appears here as they write it."
                } @else {
                    "No line that is kept is of this kind. " a href="/logs" { "All lines" }
                }
            }
        }
    }
}

/// The lines of one trace below something else, with the way to all of them.
pub(super) fn below(lines: &[LogLine], all: &str) -> Markup {
    html! {
        @if lines.is_empty() {
            p.muted { "None is kept." }
        } @else {
            div.scroll.logs.below {
                table {
                    caption.hidden { "Lines, newest last" }
                    (rows::head())
                    tbody { (rows(lines, 0)) }
                }
            }
        }
        p { a #logs href=(all) { "In the logs" } }
    }
}
