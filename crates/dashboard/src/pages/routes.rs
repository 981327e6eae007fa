//! The routes of the gateway, in the order in which it looks at them.

use madang_wire::{admin::RouteView, cache::CacheView};
use maud::{Markup, html};

use crate::{
    api::{Answer, Asked},
    format,
    page::{Page, Place},
};

pub(super) async fn page(api: &Asked) -> Answer<Page> {
    let routes: Vec<RouteView> = api.get("/v1/routes").await?;
    // Asked for only where there is one.
    let keeps = routes.iter().any(|route| route.edge.iter().any(|rule| rule == "cache"));
    let cache: Option<CacheView> = if keeps { Some(api.get("/v1/cache").await?) } else { None };
    Ok(Page::new(Place::Routes, "Routes", "madang routes").part("routes", table(&routes, cache.as_ref())))
}

fn table(routes: &[RouteView], cache: Option<&CacheView>) -> Markup {
    html! {
        p.muted { "The first that matches is taken." }
        div.scroll {
            table {
                caption.hidden { "Routes in the order of precedence" }
                thead { tr {
                    th.number scope="col" { "#" } th scope="col" { "Methods" } th scope="col" { "Host" } th scope="col" { "Path" }
                    th scope="col" { "Headers" } th scope="col" { "Leads to" } th scope="col" { "At the edge" }
                    @if cache.is_some() { th scope="col" { "From the cache" } }
                    th scope="col" { "Declared in" } th scope="col" { "Traces" }
                } }
                tbody { @for (number, route) in routes.iter().enumerate() { (row(number + 1, route, cache)) } }
            }
        }
        @if routes.is_empty() { p { "The manifest has no route: nothing is reached from outside. A service gets one by " code { r#"routes = ["/users/**"]"# } "." } }
    }
}

fn row(number: usize, route: &RouteView, cache: Option<&CacheView>) -> Markup {
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
            @if let Some(cache) = cache { td { (kept(route, cache)) } }
            td.muted { (route.place) }
            td { (format::traces(&route.path)) }
        }
    }
}

/// How many of the requests over a route were answered from the cache.
fn kept(route: &RouteView, cache: &CacheView) -> String {
    let of_route = cache.routes.iter().filter(|it| it.route == route.path);
    let (given, all) = of_route.fold((0, 0), |(given, all), it| {
        let more = it.hits + it.stale + it.revalidated;
        (given + more, all + more + it.misses)
    });
    match all {
        0 => String::new(),
        all => format!("{:.0} % of {all}", given as f64 * 100.0 / all as f64),
    }
}

fn percent(weight: u32, all: u32) -> String {
    format!("{:.0} %", f64::from(weight) * 100.0 / f64::from(all.max(1)))
}
