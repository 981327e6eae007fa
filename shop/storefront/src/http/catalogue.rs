//! The catalogue and its products.

use madang::{
    Path, Query,
    axum::{
        http::StatusCode,
        response::{IntoResponse, Response},
    },
};
use maud::html;
use serde::Deserialize;

use super::Looking;
use crate::pages::{self, Failed};

/// Which products to show.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    query: String,
    cursor: Option<String>,
}

pub(super) async fn list(looking: Looking, Query(wanted): Query<Wanted>) -> Response {
    let peers = looking.peers.clone();
    let cursor = wanted.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let (shell, shelf) = looking.with(peers.products(&wanted.query, cursor)).await;
    pages::catalogue(&shell, &wanted.query, &shelf).into_response()
}

pub(super) async fn one(looking: Looking, Path(id): Path<String>) -> Result<Response, Failed> {
    let Ok(id) = id.parse() else {
        return Err(Failed::not_found(&looking.context, &format!("product {id}")));
    };
    let peers = looking.peers.clone();
    let (shell, found) = looking.with(peers.product(id)).await;
    match found {
        Ok(Some((product, is_old))) => Ok(pages::product(&shell, &product, is_old).into_response()),
        Ok(None) => Err(Failed::not_found(&shell.context, &format!("product {id}"))),
        Err(trouble) => {
            let content =
                html! { h1 { "Product " (id) } (shell.missing("The product is not shown", &trouble)) };
            let page = shell.page("Product", &content).with_status(StatusCode::SERVICE_UNAVAILABLE);
            Ok(page.into_response())
        }
    }
}
