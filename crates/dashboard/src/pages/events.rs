//! What happened to units, newest first: what to look at beside a chart that changed.

use madang_wire::admin::{Event, EventKind, ServiceView};
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
    query::{Query, with},
};

/// How many are shown.
const MOST: usize = 300;

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let n = MOST.to_string();
    let (unit, kind) = (query.get("unit"), query.get("kind").filter(|kind| known(kind)));
    let path = with("/v1/events", &[("n", Some(&n)), ("unit", unit), ("kind", kind)]);
    let mut events: Vec<Event> = api.all(&path).await?;
    events.reverse();
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let mut units: Vec<&str> =
        services.iter().map(|service| service.unit.as_deref().unwrap_or(&service.name)).collect();
    units.sort_unstable();
    units.dedup();
    let command = unit.map_or("madang events".to_owned(), |unit| format!("madang events {unit}"));
    Ok(Page::new(Place::Events, "Events and annotations", command)
        .part("filters", filters((unit, kind), &units))
        .part("events", table(&events)))
}

/// The kinds that can be chosen, in groups of what one looks for.
const KINDS: [&str; 14] = [
    "released",
    "started",
    "ready",
    "stopped",
    "exited",
    "backoff",
    "gave_up",
    "applied",
    "refused",
    "breaker_opened",
    "breaker_closed",
    "ejected",
    "fault_added",
    "degraded",
];

fn known(kind: &str) -> bool {
    KINDS.contains(&kind)
}

fn filters((unit, kind): (Option<&str>, Option<&str>), units: &[&str]) -> Markup {
    html! {
        form.filters method="get" action="/events" {
            label { "Unit " select name="unit" {
                option value="" { "all" }
                @for one in units { option value=(one) selected[unit == Some(one)] { (one) } }
            } }
            label { "What " select name="kind" {
                option value="" { "anything" }
                @for one in KINDS { option value=(one) selected[kind == Some(one)] { (one.replace('_', " ")) } }
            } }
            button type="submit" { "Filter" }
        }
    }
}

fn table(events: &[Event]) -> Markup {
    html! {
        div.scroll {
            table {
                caption.hidden { "Events, newest first" }
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Unit" } th scope="col" { "What" }
                    th scope="col" { "Instance" } th scope="col" { "Release" } th scope="col" { "Details" }
                } }
                tbody { @for event in events { tr {
                    td { (format::ago(event.at)) }
                    th scope="row" { (event.unit) }
                    td { (kind(event.kind)) }
                    td { @if let Some(instance) = &event.instance { code { (instance) } } }
                    td { @if let Some(release) = &event.release { code { (release) } } }
                    td.text { (event.message) }
                } } }
            }
        }
        @if events.is_empty() { p { "Nothing of the kind is known of. " a href="/events" { "All events" } } }
    }
}

/// A kind in the words of the API, coloured by whether it is good news.
pub(super) fn kind(kind: EventKind) -> Markup {
    let class = match kind {
        EventKind::Ready
        | EventKind::Adopted
        | EventKind::Recovered
        | EventKind::Applied
        | EventKind::BreakerClosed
        | EventKind::Returned => "good",
        EventKind::BuildFailed
        | EventKind::Exited
        | EventKind::GaveUp
        | EventKind::Refused
        | EventKind::Degraded
        | EventKind::NodeKilled
        | EventKind::FaultFired
        | EventKind::Expired
        | EventKind::BreakerOpened
        | EventKind::Ejected => "bad",
        EventKind::Blocked | EventKind::Backoff | EventKind::LeftOut | EventKind::FaultAdded => "busy",
        _ => "quiet",
    };
    let word = serde_json::to_value(kind).ok().and_then(|word| Some(word.as_str()?.replace('_', " ")));
    html! { span.badge.(class) { (word.unwrap_or_default()) } }
}
