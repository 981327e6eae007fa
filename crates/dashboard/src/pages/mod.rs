//! One file for each page: what it asks of the API and how it shows it.

mod audit;
mod charts;
mod compare;
mod events;
pub(crate) mod explorer;
pub(crate) mod logs;
mod map;
mod routes;
mod service;
mod services;
mod trace;
mod traces;
mod waterfall;
mod why;

use crate::{
    api::{Answer, Asked, Trouble},
    page::Page,
    query::Query,
};

/// The page of a path.
pub(crate) async fn render(api: &Asked, path: &str, query: &Query) -> Answer<Page> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        [""] => map::page(api, query).await,
        ["services"] => services::page(api).await,
        ["services", name] => service::page(api, name).await,
        ["services", name, "api"] => explorer::page(api, name, query).await,
        ["logs"] => logs::page(api, query).await,
        ["traces"] => traces::page(api, query).await,
        ["traces", id] => trace::page(api, id).await,
        ["why", id] => why::page(api, id).await,
        ["compare"] => compare::page(api, query).await,
        ["charts"] => charts::page(api, query).await,
        ["routes"] => routes::page(api).await,
        ["events"] => events::page(api, query).await,
        ["audit"] => audit::page(api, query).await,
        _ => Err(Trouble::no_page(path)),
    }
}
