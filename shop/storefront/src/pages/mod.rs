//! The HTML of the storefront: what each page has in common, and what a browser is told with it.

mod account;
mod cart;
mod catalogue;
mod failed;
mod members;
mod money;
mod orders;

use madang::{
    Context,
    axum::{
        http::{HeaderMap, HeaderValue, StatusCode, header},
        response::{IntoResponse, Response},
    },
};
use maud::{DOCTYPE, Markup, html};

use crate::{
    Identity,
    form::TOKEN,
    peers::{Trouble, User},
    visitor::{SetCookie, Visitor},
};

pub use account::account;
pub use cart::{Checkout, Shown, cart};
pub use catalogue::{catalogue, product};
pub use failed::Failed;
pub use members::{Refused, members, registered};
pub use orders::{order, order_missing, orders, timeline};

/// What every page shows besides its own.
pub struct Shell {
    /// Who looks at it.
    pub visitor: Visitor,
    /// The user they chose to be; nobody if there is none of that id.
    pub user: Result<Option<User>, Trouble>,
    /// The ids of the request.
    pub context: Context,
    /// Who says who it is.
    pub identity: Identity,
}

/// A page, ready to be answered.
pub struct Page {
    status: StatusCode,
    cookies: Vec<SetCookie>,
    retry: bool,
    markup: Markup,
}

/// Nothing but what the storefront serves itself is loaded, run or sent to.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

// === impl Shell ===

impl Shell {
    /// A page with this content.
    pub fn page(&self, title: &str, content: &Markup) -> Page {
        Page {
            status: StatusCode::OK,
            cookies: self.visitor.new_token().into_iter().collect(),
            retry: false,
            markup: document(title, &self.header(), content, Some(self.identity)),
        }
    }

    /// A page that is asked for again every other second where no script keeps it up to date.
    pub fn moving_page(&self, title: &str, content: &Markup) -> Page {
        let header = self.header();
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head { (head(title)) noscript { meta http-equiv="refresh" content="2"; } }
                (body(&header, content, Some(self.identity)))
            }
        };
        Page { markup, ..self.page(title, content) }
    }

    /// The hidden field that shows that a form is ours.
    pub fn token(&self) -> Markup {
        html! { input type="hidden" name=(TOKEN) value=(self.visitor.token()); }
    }

    /// A part that is not there, with the reason and the way to find out more.
    pub fn missing(&self, what: &str, trouble: &Trouble) -> Markup {
        notice(what, trouble, self.context.request_id())
    }

    fn header(&self) -> Markup {
        let count = self.visitor.cart.count();
        html! {
            header.bar {
                a.skip href="#main" { "Skip to the content" }
                a.brand href="/" { "Madang " span { "shop" } }
                nav aria-label="Shop" {
                    a href="/shop/orders" { "Orders" }
                    a href="/shop/account" {
                        @match &self.user {
                            Ok(Some(user)) => { (user.name) }
                            Err(_) => { "Customer " (self.visitor.user.unwrap_or_default()) }
                            Ok(None) if self.identity == Identity::LoggedIn => { "Log in" }
                            Ok(None) => { "Sign in" }
                        }
                    }
                    a.cart href="/shop/cart" { "Cart" span.count aria-label={ (count) " in the cart" } { (count) } }
                }
            }
            @if let Err(trouble) = &self.user {
                (self.missing("Your name is not shown", trouble))
            }
        }
    }
}

fn notice(what: &str, trouble: &Trouble, request: &str) -> Markup {
    html! {
        section.notice role="status" data-service=(trouble.service) data-code=(trouble.problem.code) {
            p { strong { (what) ": " } "the " strong { (trouble.service) } " service is not available right now." }
            p.fine { (trouble.detail()) }
            p.fine { (trouble.problem.code) " · request " code { (request) } }
        }
    }
}

fn document(title: &str, header: &Markup, content: &Markup, identity: Option<Identity>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" { head { (head(title)) } (body(header, content, identity)) }
    }
}

fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " · Madang shop" }
        link rel="stylesheet" href="/shop/assets/style.css";
        link rel="icon" href="/shop/assets/icon.svg" type="image/svg+xml";
        script type="module" src="/shop/assets/shop.js" {}
    }
}

fn body(header: &Markup, content: &Markup, identity: Option<Identity>) -> Markup {
    html! {
        body {
            (header)
            main id="main" tabindex="-1" { (content) }
            footer {
                "A shop of four services behind this page. "
                @match identity {
                    Some(Identity::Chosen) => { "Nobody is asked for a password: whoever picks a name is that customer." }
                    Some(Identity::LoggedIn) => { "Who you are is asked at the gateway, and passwords are known to one of them." }
                    None => {}
                }
            }
        }
    }
}

// === impl Page ===

impl Page {
    /// The same, for what could not be shown.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, retry: status == StatusCode::SERVICE_UNAVAILABLE, ..self }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        // It is somebody's own, and of this moment: coming back to it asks again.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        self.cookies.iter().for_each(|cookie| cookie.add_to(&mut headers));
        (self.status, headers, self.markup.into_string()).into_response()
    }
}
