//! The routes of the gateway, in the order in which it looks at them.

use madang_wire::admin::RouteView;
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
};

pub(super) async fn page(api: &Asked) -> Answer<Page> {
    let routes: Vec<RouteView> = api.get("/v1/routes").await?;
    Ok(Page::new(Place::Routes, "Routes", "madang routes").part("routes", table(&routes)))
}

fn table(routes: &[RouteView]) -> Markup {
    html! {
        p.muted { "The first that matches is taken." }
        div.scroll {
            table {
                caption.hidden { "Routes in the order of precedence" }
                thead { tr {
                    th.number scope="col" { "#" } th scope="col" { "Methods" } th scope="col" { "Host" } th scope="col" { "Path" }
                    th scope="col" { "Headers" } th scope="col" { "Leads to" } th scope="col" { "At the edge" }
                    th scope="col" { "Declared in" } th scope="col" { "Traces" }
                } }
                tbody { @for (number, route) in routes.iter().enumerate() { (row(number + 1, route)) } }
            }
        }
        @if routes.is_empty() { p { "The manifest has no route: nothing is reached from outside. A service gets one by " code { r#"routes = ["/users/**"]"# } "." } }
    }
}

fn row(number: usize, route: &RouteView) -> Markup {
    let all: u32 = route.to.iter().map(|target| target.weight).sum();
    html! {
        tr {
            td.number { (number) }
            td { @if route.methods.is_empty() { span.muted { "any" } } @else { code { (route.methods.join(" ")) } } }
            td { @if let Some(host) = &route.host { code { (host) } } @else { span.muted { "any" } } }
            th scope="row" { code { (route.path) } }
            td { @for header in &route.headers { code { (header) } " " } }
            td {
                @for target in &route.to {
                    (format::service(&target.service))
                    @if route.to.len() > 1 { " " span.muted { (percent(target.weight, all)) } }
                    " "
                }
                @if let Some(redirect) = &route.redirect { code { (redirect) } }
            }
            td { (route.edge.join(", ")) }
            td.muted { (route.place) }
            td { (format::traces(&route.path)) }
        }
    }
}

fn percent(weight: u32, all: u32) -> String {
    format!("{:.0} %", f64::from(weight) * 100.0 / f64::from(all.max(1)))
}
