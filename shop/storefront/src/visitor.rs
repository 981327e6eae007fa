//! Who looks at a page, by the cookies of the browser.
//!
//! Where nobody logs in, a cookie says who somebody chose to be, and is believed.

use std::convert::Infallible;

use madang::axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};

use crate::cart::Cart;

const USER: &str = "shop_user";
const CART: &str = "shop_cart";
const TOKEN: &str = "shop_token";

/// Who looks at a page.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The user that somebody chose to be.
    pub user: Option<i64>,
    /// What they want to buy.
    pub cart: Cart,
    token: Token,
}

/// What shows that a form comes from a page of ours: the page and the cookie have the same, and no page from elsewhere
/// can read either.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    is_new: bool,
}

/// A cookie to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie(String);

impl Visitor {
    /// Whom the cookies of a request tell of.
    pub fn of(headers: &HeaderMap) -> Self {
        let token = cookie(headers, TOKEN).filter(|token| is_token(token));
        Self {
            user: cookie(headers, USER).and_then(|id| id.parse().ok()).filter(|id| *id > 0),
            cart: cookie(headers, CART).map(Cart::parse).unwrap_or_default(),
            token: match token {
                Some(text) => Token { text: text.to_owned(), is_new: false },
                None => Token { text: random(), is_new: true },
            },
        }
    }

    /// What each form has in it.
    pub fn token(&self) -> &str {
        &self.token.text
    }

    /// Whether this is what a form of ours would have in it.
    pub fn sent(&self, token: &str) -> bool {
        !self.token.is_new && self.token.text == token
    }

    /// The cookie for the forms of a page, unless the browser has one.
    pub fn new_token(&self) -> Option<SetCookie> {
        self.token.is_new.then(|| SetCookie::new(TOKEN, &self.token.text))
    }

    /// Keeps who somebody chose to be; nobody, if nothing is given.
    pub fn set_user(user: Option<i64>) -> SetCookie {
        SetCookie::new(USER, &user.map(|id| id.to_string()).unwrap_or_default())
    }

    /// Keeps what somebody wants to buy.
    pub fn set_cart(cart: &Cart) -> SetCookie {
        SetCookie::new(CART, &cart.to_string())
    }
}

/// A number that nobody can guess, as 32 hexadecimal digits.
pub fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The value of a cookie of a request.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

// === impl SetCookie ===

impl SetCookie {
    /// For a month, sent by no other site and read by no script; an empty one is removed.
    fn new(name: &str, value: &str) -> Self {
        let age = if value.is_empty() { 0 } else { 30 * 24 * 60 * 60 };
        Self(format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"))
    }

    /// Adds it to an answer.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        // Digits and letters only.
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cookies: &str) -> Visitor {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookies.parse().unwrap());
        Visitor::of(&headers)
    }

    #[test]
    fn cookies_tell_who_it_is() {
        let visitor = of("other=1; shop_user=7; shop_cart=1x2; shop_token=00112233445566778899aabbccddeeff");
        assert_eq!((visitor.user, visitor.cart.count()), (Some(7), 2));
        assert!(visitor.sent("00112233445566778899aabbccddeeff") && visitor.new_token().is_none());
        assert!(!visitor.sent("00112233445566778899aabbccddeefe"));
    }

    #[test]
    fn a_visitor_without_cookies_gets_a_token_that_no_form_has_yet() {
        for cookies in ["", "shop_user=-1; shop_token=short", "shop_user=me; shop_cart=; shop_token"] {
            let visitor = of(cookies);
            assert_eq!((visitor.user, visitor.cart.count()), (None, 0), "{cookies}");
            assert!(visitor.new_token().is_some() && !visitor.sent(visitor.token()), "{cookies}");
        }
        assert_ne!(of("").token(), of("").token());
    }
}
