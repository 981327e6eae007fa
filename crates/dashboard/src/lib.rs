//! The dashboard: web pages over the admin API, and over nothing else. Whatever they show and do, a script can.
//!
//! `pages/` has a file for each page, which asks the `Api` and answers a `page::Page` of parts. A browser gets the
//! whole of it once, and then by `live.rs` those parts that change. Whoever composes a node hands in the API as a
//! router and says who asks, by a `Session`. Knows nothing of listeners, tokens, engines or storage.

mod actions;
mod api;
mod assets;
mod chart;
mod explore;
mod format;
mod headers;
mod live;
mod login;
mod page;
mod pages;
mod paths;
mod query;
mod session;
mod shell;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio_util::sync::CancellationToken;

pub use login::log_in;
pub use paths::{is_open, is_page};
pub use session::{CSRF, Session, same};

use api::Api;
use live::Streams;
use query::Query;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Dashboard {
    api: Api,
    streams: Arc<Streams>,
    ends: CancellationToken,
}

/// The pages, over this API. Each request must have a [`Session`] among its extensions, but those for which
/// [`is_open`] holds; each request to the API gets it there. Streams end with `ends`.
pub fn router(api: Router, ends: CancellationToken) -> Router {
    let dashboard = Dashboard { api: Api::new(api), streams: Arc::default(), ends };
    Router::new()
        .route("/assets/{file}", get(assets::serve))
        .route("/live", get(live::page))
        .route("/live/logs", get(live::logs))
        .route("/confirm", get(actions::confirm))
        .route("/actions", post(actions::act))
        .route("/services/{name}/try", post(explore::send))
        .fallback(get(page))
        .layer(middleware::from_fn(headers::secure))
        .with_state(dashboard)
}

async fn page(
    State(dashboard): State<Dashboard>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Response {
    let api = dashboard.api.of(&session);
    let query = Query::new(request.uri().query().unwrap_or_default());
    match pages::render(&api, request.uri().path(), &query).await {
        Ok(page) => page.whole(&api.shell().await, &session, &query).into_response(),
        Err(trouble) => page::trouble(&trouble, &api.shell().await, &session).into_response(),
    }
}
