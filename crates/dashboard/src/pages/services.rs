//! Every service: how it is, what runs of it, and what can be done.

use madang_wire::{
    admin::{InstanceView, ServiceView, State},
    metrics::{MetricsSummary, ServiceFlow},
};
use maud::{Markup, html};

use crate::{
    actions::{Verb, button},
    api::{Answer, Asked},
    format,
    page::{Page, Place},
};

pub(super) async fn page(api: &Asked) -> Answer<Page> {
    let services: Vec<ServiceView> = api.get("/v1/services").await?;
    let summary: MetricsSummary = api.get("/v1/metrics/summary?window=10s").await?;
    Ok(Page::new(Place::Services, "Services", "madang ps").part("services", table(&services, &summary)))
}

fn table(services: &[ServiceView], summary: &MetricsSummary) -> Markup {
    html! {
        div.scroll {
            table {
                caption.hidden { "Services" }
                thead { tr {
                    th scope="col" { "Service" } th scope="col" { "State" } th scope="col" { "Release" }
                    th.number scope="col" { "Instances" } th.number scope="col" { "Restarts" }
                    th.number scope="col" { "CPU" } th.number scope="col" { "Memory" } th scope="col" { "Endpoints" } th scope="col" { "Actions" }
                } }
                tbody { @for service in services {
                    @let measured = summary.services.iter().find(|one| one.service == service.name);
                    (row(service, measured))
                } }
            }
        }
    }
}

fn row(service: &ServiceView, measured: Option<&ServiceFlow>) -> Markup {
    let ready = service.instances.iter().filter(|one| one.state == State::Ready).count();
    let restarts = service.instances.iter().map(|one| one.restarts).max().unwrap_or(0);
    let memory: u64 = service.instances.iter().filter_map(|one| one.memory).sum();
    html! {
        tr id={ "service-" (service.name) } {
            th scope="row" {
                (format::service(&service.name))
                @if let Some(owner) = &service.owner { " " span.muted { (owner) } }
                @if let Some(unit) = service.unit.as_ref().filter(|unit| **unit != service.name) {
                    " " span.muted title="It shares this unit's process" { "in " (unit) }
                }
            }
            td { (states(service)) }
            td { (releases(&service.instances)) }
            td.number { (ready) @if ready != service.instances.len() { " of " (service.instances.len()) } }
            td.number { (restarts) }
            td.number { @if let Some(cpu) = measured.and_then(|one| one.cpu) { (format::cores(cpu)) } @else { "–" } }
            td.number { @if memory > 0 { (format::bytes(memory)) } @else { "–" } }
            td.mono { (endpoints(service)) }
            td { (actions(service, "/services")) }
        }
    }
}

/// The states of the instances, each once; of one that is not well with why.
pub(super) fn states(service: &ServiceView) -> Markup {
    if let Some(url) = &service.url {
        return html! { span.badge.quiet title={ "It runs elsewhere: " (url) } { "elsewhere" } };
    }
    let mut seen: Vec<State> = Vec::new();
    for instance in &service.instances {
        if !seen.contains(&instance.state) {
            seen.push(instance.state);
        }
    }
    let unwell = service.instances.iter().find(|one| !matches!(one.state, State::Ready | State::Stopping));
    html! {
        @for state in &seen { (format::state(*state)) " " }
        @if seen.is_empty() { span.badge.quiet { "nobody joined" } }
        @if let Some(one) = unwell {
            a.muted href=(crate::query::with("/logs", &[("service", Some(&service.name))])) { (one.health) }
        }
    }
}

fn releases(instances: &[InstanceView]) -> Markup {
    let mut releases: Vec<&str> = instances.iter().filter_map(|one| one.release.as_deref()).collect();
    releases.dedup();
    html! {
        @for release in &releases { code { (release) } " " }
        @if releases.is_empty() { "–" }
    }
}

/// Where it is reached: at Madang's own listener for it, or else at its instances.
pub(super) fn endpoints(service: &ServiceView) -> Markup {
    let urls: Vec<&str> = match service.listen.as_ref().or(service.url.as_ref()) {
        Some(url) => vec![url],
        None => service.instances.iter().filter_map(|one| one.url.as_deref()).collect(),
    };
    html! { @for url in urls { a href=(url) { (url.trim_start_matches("http://")) } " " } }
}

/// What can be done to the unit of a service.
pub(super) fn actions(service: &ServiceView, back: &str) -> Markup {
    let by_hand = service.instances.iter().any(|one| one.by_hand);
    let stopped =
        !service.instances.is_empty() && service.instances.iter().all(|one| one.state == State::Stopped);
    html! {
        @if let (Some(unit), false) = (&service.unit, by_hand) {
            span.actions {
                @if stopped { (button(Verb::Start, unit, back)) } @else {
                    (button(Verb::Restart, unit, back)) (button(Verb::Stop, unit, back))
                }
            }
        } @else if by_hand { span.muted { "run by hand" } }
    }
}
