//! One service: its instances, its way in and out, what holds its calls up, and where to look further.

use madang_wire::admin::{HealthView, InstanceView, ServiceView};
use maud::{Markup, html};

use super::services::{actions, endpoints, states};
use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
    query::{segment, with},
};

pub(super) async fn page(api: &Asked, name: &str) -> Answer<Page> {
    let service: ServiceView = api.get(&format!("/v1/services/{}", segment(name))).await?;
    let all: Vec<ServiceView> = api.get("/v1/services").await?;
    let callers = all.iter().filter(|other| other.calls.contains(&service.name));
    let callers: Vec<&str> = callers.map(|other| other.name.as_str()).collect();
    Ok(Page::new(Place::Services, &service.name, format!("madang describe {}", service.name))
        .part("summary", summary(&service))
        .part("instances", instances(&service.instances))
        .part("ways", ways(&service, &callers))
        .part("health", health(&service.health)))
}

fn summary(service: &ServiceView) -> Markup {
    let logs = with("/logs", &[("service", Some(&service.name))]);
    let traces = with("/traces", &[("service", Some(&service.name))]);
    let explorer = format!("/services/{}/api", segment(&service.name));
    let facts = [
        ("Owner", service.owner.clone()),
        ("Domain", service.domain.clone()),
        ("Unit", service.unit.clone()),
        ("Runs", service.run.clone()),
        ("Folder", service.folder.clone()),
        ("Protocol", Some(service.protocol.clone())),
        ("Database", service.database.clone()),
    ];
    html! {
        div.bar {
            (states(service)) span.mono { (endpoints(service)) }
            a href=(logs) { "Logs" } a href=(traces) { "Traces" } a href=(explorer) { "API" }
            (actions(service, &format!("/services/{}", segment(&service.name))))
        }
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd.mono { (value) } } }
            }
        }
    }
}

fn instances(instances: &[InstanceView]) -> Markup {
    html! {
        h2 { "Instances" }
        @if instances.is_empty() { p.muted { "None runs here." } } @else {
            div.scroll {
                table {
                    caption.hidden { "Instances" }
                    thead { tr {
                        th scope="col" { "Instance" } th scope="col" { "State" } th scope="col" { "Release" }
                        th scope="col" { "Health" } th scope="col" { "Since" } th.number scope="col" { "Restarts" }
                        th.number scope="col" { "Process" } th.number scope="col" { "Memory" } th scope="col" { "Endpoint" }
                    } }
                    tbody { @for one in instances { (instance(one)) } }
                }
            }
            @for one in instances {
                @if let Some(reason) = &one.reason { div.notice.bad { strong { (one.name) } pre { (reason) } } }
            }
        }
    }
}

fn instance(one: &InstanceView) -> Markup {
    html! {
        tr id={ "instance-" (one.name) } {
            th scope="row" { code { (one.name) } }
            td { (format::state(one.state)) }
            td { @if let Some(release) = &one.release { code { (release) } } @else { "–" } }
            td { (one.health) }
            td { (format::ago(one.since)) }
            td.number { (one.restarts) }
            td.number { @if let Some(pid) = one.pid { (pid) } @else { "–" } }
            td.number { @if let Some(memory) = one.memory { (format::bytes(memory)) } @else { "–" } }
            td.mono { @if let Some(url) = &one.url { a href=(url) { (url.trim_start_matches("http://")) } } }
        }
    }
}

fn ways(service: &ServiceView, callers: &[&str]) -> Markup {
    html! {
        div.columns {
            div {
                h2 { "Routes" }
                @if service.routes.is_empty() { p.muted { "No route leads here." } }
                ul.plain {
                    @for route in &service.routes {
                        li { code { @for method in &route.methods { (method) " " } (route.path) } " " (format::traces(&route.path)) " " span.muted { (route.place) } }
                    }
                }
            }
            div {
                h2 { "Called by" }
                @if callers.is_empty() { p.muted { "No service." } }
                ul.plain { @for caller in callers { li { (format::service(caller)) } } }
            }
            div {
                h2 { "Calls" }
                @if service.calls.is_empty() { p.muted { "No service." } }
                ul.plain { @for callee in &service.calls { li { (format::service(callee)) } } }
            }
        }
    }
}

/// What its answers did to how it is called.
fn health(health: &HealthView) -> Markup {
    let answered = health.instances.iter().any(|one| one.answers > 0 || one.ejected_until.is_some());
    html! {
        @if answered {
            h2 { "Answers of the last ten seconds" }
            div.scroll { table {
                caption.hidden { "Answers by instance" }
                thead { tr {
                    th scope="col" { "Instance" } th.number scope="col" { "Answers" } th.number scope="col" { "Failed" }
                    th.number scope="col" { "Slow" } th scope="col" { "In use" }
                } }
                tbody { @for one in &health.instances { tr {
                    th scope="row" { code { (one.instance) } }
                    td.number { (one.answers) } td.number { (one.failed) } td.number { (one.slow) }
                    td { @if one.ejected_until.is_some() { span.badge.bad { "ejected" } } @else { "yes" } }
                } } }
            } }
        }
        @if !health.breakers.is_empty() {
            h2 { "Breakers" }
            div.scroll { table {
                caption.hidden { "Breakers" }
                thead { tr {
                    th scope="col" { "Of" } th scope="col" { "State" } th scope="col" { "Since" }
                    th.number scope="col" { "Answers" } th.number scope="col" { "Failed" } th.number scope="col" { "In a row" }
                } }
                tbody { @for one in &health.breakers { tr {
                    th scope="row" { (one.origin.as_deref().unwrap_or("all callers")) }
                    td { (format::breaker(one.state)) } td { (format::ago(one.since)) }
                    td.number { (one.answers) } td.number { (one.failed) } td.number { (one.failures_in_a_row) }
                } } }
            } }
        }
        @if !health.limits.is_empty() {
            h2 { "Calls at once" }
            div.scroll { table {
                caption.hidden { "Limits of calls at once" }
                thead { tr {
                    th scope="col" { "Of" } th.number scope="col" { "Limit" } th.number scope="col" { "In use" }
                    th.number scope="col" { "Queued" } th.number scope="col" { "Refused" }
                } }
                tbody { @for one in &health.limits { tr {
                    th scope="row" { (one.origin.as_deref().unwrap_or("all callers")) }
                    td.number { (one.limit) } td.number { (one.in_use) } td.number { (one.queued) }
                    td.number { (one.shed_best_effort + one.shed_normal + one.shed_critical) }
                } } }
            } }
        }
    }
}
