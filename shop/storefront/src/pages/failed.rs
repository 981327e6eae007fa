//! The page in place of one that cannot be shown at all.

use madang::{
    Context,
    axum::{
        http::StatusCode,
        response::{IntoResponse, Response},
    },
};
use maud::html;

use super::{Page, document};

/// Why a page is not shown.
#[derive(Debug, Clone)]
pub struct Failed {
    status: StatusCode,
    detail: String,
    request: Option<String>,
}

impl Failed {
    /// What is wrong with this request.
    pub fn new(context: Option<&Context>, status: StatusCode, detail: impl Into<String>) -> Self {
        let request = context.map(|context| context.request_id().to_owned());
        Self { status, detail: detail.into(), request }
    }

    /// 404: what was asked for does not exist.
    pub fn not_found(context: &Context, what: &str) -> Self {
        Self::new(Some(context), StatusCode::NOT_FOUND, format!("There is no {what}."))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not accepted",
            _ => "That did not work",
        };
        let bar = html! { header.bar { a.brand href="/" { "Madang " span { "shop" } } } };
        let content = html! {
            h1 { (title) }
            p { (self.detail) }
            @if let Some(request) = &self.request { p.fine { "request " code { (request) } } }
            p { a.button href="/" { "To the shop" } }
        };
        let page = Page {
            status: self.status,
            cookies: Vec::new(),
            retry: false,
            markup: document(title, &bar, &content, None),
        };
        page.into_response()
    }
}
