//! The fields of a form that a browser sent, if it was a form of ours.

use bytes::Bytes;
use madang::{
    Context,
    axum::{
        extract::{FromRequest, FromRequestParts, Request},
        http::{HeaderMap, StatusCode, header},
    },
};

use crate::{pages::Failed, visitor::Visitor};

/// The hidden field of each form with the visitor's token.
pub const TOKEN: &str = "token";

/// The fields of a form that a browser sent from a page of ours.
#[derive(Debug, Clone)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The value of a field; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// The values of all fields of this name, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let (mut head, body) = request.into_parts();
        let context = Context::from_request_parts(&mut head, state).await.ok();
        let failed = |status, detail| Failed::new(context.as_ref(), status, detail);
        let visitor = Visitor::of(&head.headers);
        if !comes_from_here(&head.headers) {
            return Err(failed(StatusCode::FORBIDDEN, "The form was sent from another site."));
        }
        let body = Bytes::from_request(Request::from_parts(head, body), state).await;
        let body = body.map_err(|_| failed(StatusCode::BAD_REQUEST, "The form did not arrive whole."))?;
        let form = Self(form_urlencoded::parse(&body).into_owned().collect());
        if !visitor.sent(form.get(TOKEN)) {
            let detail = "The form is from a page that is too old, or cookies are switched off. Go back, load the page \
                          again and repeat what you did: nothing was done.";
            return Err(failed(StatusCode::FORBIDDEN, detail));
        }
        Ok(form)
    }
}

/// What browsers say by themselves; a program that says nothing is judged by its token alone.
fn comes_from_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    site.is_none_or(|site| matches!(site, "same-origin" | "none"))
        && form.starts_with("application/x-www-form-urlencoded")
}
