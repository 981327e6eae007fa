//! The addresses of the storefront, and what every page asks for.

mod account;
mod assets;
mod cart;
mod catalogue;
mod orders;

use madang::{
    Calls, Context, Principal,
    axum::{
        Extension, Router,
        extract::{FromRequestParts, OptionalFromRequestParts},
        http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
};

use crate::{
    Config, Identity,
    live::Live,
    pages::{Failed, Shell},
    peers::Peers,
    visitor::{SetCookie, Visitor},
};

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    config: Config,
    live: Live,
}

/// The routes of the storefront.
pub fn routes(config: Config) -> Router {
    let identity = config.identity;
    let shared = Shared { live: Live::new(&config), config };
    Router::new()
        .route("/", get(catalogue::list))
        .route("/shop", get(async || to("/", &[])))
        .route("/shop/products/{id}", get(catalogue::one))
        .route("/shop/cart", get(cart::show).post(cart::add))
        .route("/shop/cart/quantity", post(cart::set))
        .route("/shop/account", get(account::show).post(account::choose))
        .route("/shop/account/new", post(account::sign_up))
        .route("/shop/orders", get(orders::list).post(orders::place))
        .route("/shop/orders/{id}", get(orders::one))
        .route("/shop/orders/{id}/events", get(orders::events))
        .route("/shop/assets/{file}", get(assets::file))
        .route("/shop/{*rest}", get(nothing))
        .layer(Extension(identity))
        .with_state(shared)
}

async fn nothing(context: Context) -> Failed {
    Failed::not_found(&context, "page of this address")
}

/// Who looks at a page and the services that it is made of.
struct Looking {
    visitor: Visitor,
    peers: Peers,
    context: Context,
    identity: Identity,
}

impl<S: Send + Sync> FromRequestParts<S> for Looking {
    type Rejection = madang::Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> madang::Result<Self> {
        let identity = parts.extensions.get::<Identity>().copied().unwrap_or_default();
        let mut visitor = Visitor::of(&parts.headers);
        if identity == Identity::LoggedIn {
            // What the browser says of itself is not asked.
            let principal =
                <Principal as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
            visitor.user = principal.and_then(|principal| principal.subject().parse().ok());
        }
        Ok(Self {
            visitor,
            identity,
            peers: Peers::new(Calls::from_request_parts(parts, state).await?),
            context: Context::from_request_parts(parts, state).await?,
        })
    }
}

impl Looking {
    /// What every page shows, asked for beside what this one shows.
    async fn with<T>(self, own: impl Future<Output = T>) -> (Shell, T) {
        let user = async {
            match self.visitor.user {
                Some(id) => self.peers.user(id).await,
                None => Ok(None),
            }
        };
        let (user, own) = tokio::join!(user, own);
        (Shell { visitor: self.visitor, user, context: self.context, identity: self.identity }, own)
    }
}

/// Sends the browser to a page of ours after a form, so that loading it again sends nothing again.
fn to(path: &str, cookies: &[SetCookie]) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/")));
    cookies.iter().for_each(|cookie| cookie.add_to(&mut headers));
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Where a form wants to go back to, if that is a page of ours.
fn back(path: &str) -> &str {
    let ours = path == "/" || path.starts_with("/shop/") && !path.contains(['\\', '\r', '\n']);
    if ours { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        let check = |path: &str, expected: &str| assert_eq!(back(path), expected, "{path}");
        check("/shop/cart", "/shop/cart");
        check("/", "/");
        for bad in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/shop/\r\nx: y",
            "javascript:0",
        ] {
            check(bad, "/");
        }
    }
}
