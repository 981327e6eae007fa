//! Metrics over time: of the whole system or of one service, of two releases side by side, with calls that stand for
//! the rest by their traces, and what happened meanwhile.

mod panels;

use madang_wire::{
    admin::{Event, EventKind, ServiceView},
    metrics::{ExternalMetric, GATEWAY, MetricsSeries, MetricsSummary},
};
use maud::{Markup, html};

use self::panels::Panels;
use crate::{
    api::{Answer, Asked},
    chart::Mark,
    format,
    page::{Page, Place},
    query::{Query, segment, with},
};

/// The times that can be chosen, the usual first.
const WINDOWS: [&str; 6] = ["10m", "1h", "6h", "1d", "7d", "31d"];

/// How many events are marked at most.
const MARKS: usize = 100;

/// What is shown.
struct Choice<'a> {
    service: Option<&'a str>,
    route: Option<&'a str>,
    window: &'static str,
    /// The releases to set beside each other.
    releases: Vec<&'a str>,
}

pub(super) async fn page(api: &Asked, query: &Query) -> Answer<Page> {
    let choice = Choice {
        service: query.get("service"),
        route: query.get("route"),
        window: WINDOWS.into_iter().find(|one| query.get("window") == Some(one)).unwrap_or(WINDOWS[0]),
        releases: query.all("release").take(2).collect(),
    };
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let summary: MetricsSummary =
        api.get(&with("/v1/metrics/summary", &[("window", Some(choice.window))])).await?;
    let mut all = Vec::new();
    let compared: Vec<Option<&str>> = match choice.releases.as_slice() {
        [] => vec![None],
        releases => releases.iter().copied().map(Some).collect(),
    };
    for release in compared {
        let series: MetricsSeries = api.get(&choice.series(release)).await?;
        all.push((release.map(|release| format!("release {release}")), series));
    }
    let marks = marks(api, &choice, all.first().map_or(0, |(_, series)| series.from)).await?;
    let command = choice.service.map_or("madang top".to_owned(), |service| format!("madang top {service}"));
    Ok(Page::new(Place::Metrics, "Metrics", command)
        .part("filters", filters(&choice, &services, &summary))
        .part("charts", Panels { all: &all, marks }.draw())
        .part("numbers", numbers(&choice, &summary))
        .part("external", external(api, &choice).await?))
}

impl Choice<'_> {
    fn series(&self, release: Option<&str>) -> String {
        // Without a service it is what comes from outside, each request once.
        let caller = if self.service.is_none() { Some(GATEWAY) } else { None };
        let parameters = [
            ("caller", caller),
            ("service", self.service),
            ("route", self.route),
            ("release", release),
            ("window", Some(self.window)),
        ];
        with("/v1/metrics/series", &parameters)
    }
}

/// What may be why a chart changed.
async fn marks(api: &Asked, choice: &Choice<'_>, from: u64) -> Answer<Vec<Mark>> {
    let since = from.to_string();
    let path = with("/v1/events", &[("since", Some(&since)), ("unit", choice.service)]);
    let events: Vec<Event> = api.all(&path).await?;
    let told = |event: &&Event| {
        use EventKind::{
            Applied, BreakerOpened, Degraded, Exited, FaultAdded, FaultExpired, FaultRemoved, GaveUp, Ready,
            Released, Stopped,
        };
        matches!(
            event.kind,
            Ready
                | Stopped
                | Exited
                | GaveUp
                | Released
                | Applied
                | BreakerOpened
                | Degraded
                | FaultAdded
                | FaultRemoved
                | FaultExpired
        )
    };
    let kinds = |event: &Event| {
        let kind = serde_json::to_value(event.kind).ok();
        let kind = kind.and_then(|kind| Some(kind.as_str()?.replace('_', " "))).unwrap_or_default();
        format!("{} {kind}", event.unit)
    };
    let marks =
        events.iter().rev().filter(told).take(MARKS).map(|event| Mark { at: event.at, said: kinds(event) });
    Ok(marks.collect())
}

fn filters(choice: &Choice, services: &[ServiceView], summary: &MetricsSummary) -> Markup {
    let routes = summary
        .routes
        .iter()
        .filter(|route| choice.service.is_none() || route.service.as_deref() == choice.service);
    let mut routes: Vec<&str> = routes.filter_map(|route| route.route.as_deref()).collect();
    routes.sort_unstable();
    routes.dedup();
    let releases: Vec<&str> = summary
        .releases
        .iter()
        .filter(|release| Some(release.service.as_str()) == choice.service)
        .filter_map(|release| release.release.as_deref())
        .collect();
    html! {
        form.filters method="get" action="/charts" {
            label { "Service " select name="service" {
                option value="" { "all, from outside" }
                @for one in services { option value=(one.name) selected[choice.service == Some(&one.name)] { (one.name) } }
            } }
            label { "Route " select name="route" {
                option value="" { "all" }
                @for one in &routes { option value=(one) selected[choice.route == Some(one)] { (one) } }
            } }
            label { "The last " select name="window" { @for one in WINDOWS { option selected[one == choice.window] { (one) } } } }
            @if releases.len() > 1 || !choice.releases.is_empty() {
                @for (at, title) in ["Release", "beside"].into_iter().enumerate() {
                    label { (title) " " select name="release" {
                        option value="" { @if at == 0 { "all" } @else { "none" } }
                        @for one in &releases { option value=(one) selected[choice.releases.get(at) == Some(one)] { (one) } }
                    } }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

/// What the window adds up to, by service or by what the service's calls differ in.
fn numbers(choice: &Choice, summary: &MetricsSummary) -> Markup {
    let of_service = |service: &str| choice.service.is_none_or(|chosen| chosen == service);
    html! {
        h2 { "Services" }
        (table("Service", "Services", summary.services.iter().filter(|one| of_service(&one.service)).map(|one| {
            (html! { (format::service(&one.service)) }, one.flow.clone())
        })))
        @let releases: Vec<_> = summary.releases.iter().filter(|one| of_service(&one.service)).collect();
        @if !releases.is_empty() {
            h2 { "Releases" }
            (table("Release", "Releases", releases.into_iter().map(|one| {
                (html! { (one.service) " " code { (one.release.as_deref().unwrap_or("none answered")) } }, one.flow.clone())
            })))
        }
        @let routes: Vec<_> = summary.routes.iter().filter(|one| choice.service.is_none() || one.service.as_deref() == choice.service).collect();
        @if !routes.is_empty() {
            h2 { "Routes" }
            (table("Route", "Routes", routes.into_iter().map(|one| {
                let to = one.service.as_deref().unwrap_or("no service");
                (html! { code { (one.route.as_deref().unwrap_or("no route")) } " → " (to) }, one.flow.clone())
            })))
        }
    }
}

fn table(
    head: &str,
    caption: &str,
    rows: impl Iterator<Item = (Markup, madang_wire::metrics::Flow)>,
) -> Markup {
    let quantile = |value: Option<u64>| value.map_or("–".to_owned(), format::took);
    html! {
        div.scroll { table {
            caption.hidden { (caption) }
            thead { tr {
                th scope="col" { (head) } th.number scope="col" { "Rate" } th.number scope="col" { "Requests" }
                th.number scope="col" { "Failed" } th.number scope="col" { "p50" } th.number scope="col" { "p95" }
                th.number scope="col" { "p99" } th.number scope="col" { "Retries" }
            } }
            tbody { @for (name, flow) in rows { tr {
                th scope="row" { (name) }
                td.number { (format::rate(flow.rate)) } td.number { (flow.requests) }
                td.number { span.{ @if flow.errors > 0 { "bad" } } { (format::share(flow.error_ratio)) } }
                td.number { (quantile(flow.p50_us)) } td.number { (quantile(flow.p95_us)) }
                td.number { (quantile(flow.p99_us)) } td.number { (flow.retries) }
            } } }
        } }
    }
}

/// What the service measures itself.
async fn external(api: &Asked, choice: &Choice<'_>) -> Answer<Markup> {
    let path = with("/v1/metrics/external", &[("service", choice.service)]);
    let metrics: Vec<ExternalMetric> = api.find(&path).await?.unwrap_or_default();
    Ok(html! {
        @if !metrics.is_empty() {
            h2 { "Measured by the services themselves" }
            div.scroll { table {
                caption.hidden { "Metrics that services sent" }
                thead { tr {
                    th scope="col" { "Metric" } th scope="col" { "Service" } th scope="col" { "Attributes" }
                    th.number scope="col" { "Value" } th scope="col" { "Sent" }
                } }
                tbody { @for metric in &metrics { @for series in metric.series.iter().take(20) { tr {
                    th scope="row" title=(metric.description) { code { (metric.name) } }
                    td { a href={ "/services/" (segment(&metric.service)) } { (metric.service) } }
                    td.text { @for (name, value) in &series.attributes { (name) "=" (value) " " } }
                    td.number {
                        @match series.count {
                            Some(count) => { (count) " values, " (shown(series.value)) },
                            None => (shown(series.value)),
                        }
                        " " span.muted { (metric.unit) }
                    }
                    td { (format::ago(series.at)) }
                } } } }
            } }
        }
    })
}

/// A number without digits that say nothing.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.4}") }
}
