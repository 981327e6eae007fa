//! Sends what somebody wrote in the API explorer through the gateway.

use std::collections::BTreeMap;

use axum::{
    Extension, Form,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use madang_wire::dashboard::TryRequest;
use serde::Deserialize;

use crate::{
    Dashboard, page,
    pages::explorer::{self, Tried},
    query::Query,
    session::Session,
};

/// What the form says.
#[derive(Deserialize)]
pub(crate) struct Written {
    method: String,
    path: String,
    #[serde(default)]
    headers: String,
    #[serde(default)]
    body: String,
}

/// Sends it, and shows the page with what was answered.
pub(crate) async fn send(
    State(dashboard): State<Dashboard>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
    Form(written): Form<Written>,
) -> Response {
    let api = dashboard.api.of(&session);
    let request = TryRequest {
        method: Some(written.method),
        path: written.path,
        headers: headers(&written.headers),
        // A form sends lines with CR and LF.
        body: written.body.replace("\r\n", "\n"),
    };
    let outcome = api.put_in("/v1/requests", &request).await.map_err(|trouble| trouble.detail);
    match explorer::with_answer(&api, &name, Some(Tried { request, outcome })).await {
        Ok(page) => page.whole(&api.shell().await, &session, &Query::default()).into_response(),
        Err(trouble) => page::trouble(&trouble, &api.shell().await, &session).into_response(),
    }
}

/// Headers as they are written, one a line; what is none is sent as the name of one, which is refused by name.
fn headers(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.trim().to_owned(), value.trim().to_owned())
    };
    lines.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines() {
        let read = headers("accept: text/html\r\n\r\n x-a:b:c \r\nnone");
        let expected = [("accept", "text/html"), ("x-a", "b:c"), ("none", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
