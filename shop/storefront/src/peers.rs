//! The services that the storefront calls, and what each of their answers means on a page.

use madang::{
    Call, CallError, Calls, Error, Problem, Reply,
    axum::http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shop_money::{Currency, Money};

use crate::order::Order;

/// The other services of the shop, as seen from a page.
#[derive(Clone)]
pub struct Peers(Calls);

/// Why a part of a page is not there.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The service that was asked.
    pub service: &'static str,
    /// What it answered, or what is answered in its place.
    pub problem: Box<Problem>,
    /// Whether the service itself answered, and not whoever could not reach it.
    answered: bool,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The id.
    pub id: i64,
    /// The name.
    pub name: String,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {
    /// The id.
    pub id: i64,
    /// The name in each language.
    pub name: Names,
    /// The price in each currency.
    pub prices: Vec<Money>,
    /// How many can be ordered now.
    pub available: i64,
}

/// A name in each language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Names {
    /// In English.
    pub en: String,
    /// In Korean.
    pub ko: String,
}

/// A page of products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// The products.
    pub items: Vec<Product>,
    /// The cursor of the next page.
    pub next: Option<String>,
    /// Whether this is what was seen lately, because the catalog does not answer now.
    pub is_old: bool,
}

/// An order to place, with the key under which it is placed once.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The key.
    pub key: String,
    /// What is ordered.
    pub order: NewOrder,
}

/// An order to place.
#[derive(Debug, Clone, Serialize)]
pub struct NewOrder {
    /// Who orders.
    pub user: i64,
    /// What is ordered.
    pub lines: Vec<NewLine>,
    /// In which currency it is paid.
    pub currency: Currency,
    /// What it costs as the customer was shown it; it is not ordered if it costs anything else.
    pub total: i64,
}

/// Some of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewLine {
    /// The product's name.
    pub product: String,
    /// How many.
    pub quantity: u32,
}

/// What became of an attempt to place an order.
#[derive(Debug, Clone)]
pub enum Placed {
    /// There is an order of this id, however it goes.
    Order(i64),
    /// Another request with the key is being answered.
    InFlight,
    /// It is refused, and there is no order.
    Refused(Trouble),
    /// Nobody knows.
    Unknown(Trouble),
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Product>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    balances: Vec<Money>,
}

#[derive(Serialize)]
struct NewUser<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct NewMember<'a> {
    name: &'a str,
    login: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Made {
    id: i64,
}

/// Says that an answer is the last good one in place of a failure.
const FALLBACK: &str = "madang-fallback";

// === impl Peers ===

impl Peers {
    /// The services behind these calls.
    pub fn new(calls: Calls) -> Self {
        Self(calls)
    }

    /// The first hundred users.
    pub async fn users(&self) -> Result<Vec<User>, Trouble> {
        read("users", self.0.to("users").get("/users")).await
    }

    /// One user, if there is one of this id.
    pub async fn user(&self, id: i64) -> Result<Option<User>, Trouble> {
        found(read("users", self.0.to("users").get(format!("/users/{id}"))).await)
    }

    /// Adds a user.
    pub async fn add_user(&self, name: &str) -> Result<User, Trouble> {
        read("users", self.0.to("users").post("/users").json(&NewUser { name })).await
    }

    /// Adds a user who logs in by this name and password.
    pub async fn add_member(&self, name: &str, login: &str, password: &str) -> Result<User, Trouble> {
        read("users", self.0.to("users").post("/users").json(&NewMember { name, login, password })).await
    }

    /// What a user has; nothing before the first order.
    pub async fn balances(&self, user: i64) -> Result<Vec<Money>, Trouble> {
        let call = self.0.to("payments").get(format!("/payments/accounts/{user}"));
        read::<Account>("payments", call).await.map(|account| account.balances)
    }

    /// A page of the products that a search finds.
    pub async fn products(&self, query: &str, cursor: Option<&str>) -> Result<Shelf, Trouble> {
        let pairs =
            [("query", query), ("limit", "24")].into_iter().chain(cursor.map(|cursor| ("cursor", cursor)));
        let wanted = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let reply = ask("catalog", self.0.to("catalog").get(format!("/products?{wanted}"))).await?;
        let is_old = is_old(reply.headers());
        let Page { items, next } = decode("catalog", reply).await?;
        Ok(Shelf { items, next, is_old })
    }

    /// One product, if there is one of this id; and whether that is what was seen lately.
    pub async fn product(&self, id: i64) -> Result<Option<(Product, bool)>, Trouble> {
        let answer = async {
            let reply = ask("catalog", self.0.to("catalog").get(format!("/products/{id}"))).await?;
            let is_old = is_old(reply.headers());
            Ok((decode("catalog", reply).await?, is_old))
        };
        found(answer.await)
    }

    /// One order with its history, if there is one of this id.
    pub async fn order(&self, id: i64) -> Result<Option<Order>, Trouble> {
        found(read("orders", self.0.to("orders").get(format!("/orders/{id}"))).await)
    }

    /// A page of a user's orders, the oldest first; a full page has [`Self::ORDERS`].
    pub async fn orders(&self, user: i64, after: i64) -> Result<Vec<Order>, Trouble> {
        let path = format!("/orders?user={user}&after={after}&limit={}", Self::ORDERS);
        read("orders", self.0.to("orders").get(path)).await
    }

    /// How many orders a page has at most.
    pub const ORDERS: usize = 500;

    /// Places an order, once for each key.
    pub async fn place(&self, attempt: &Attempt) -> Placed {
        let key = format!("\"{}\"", attempt.key);
        let call = self.0.to("orders").post("/orders").idempotency_key(key).json(&attempt.order);
        let reply = match call.send().await {
            Ok(reply) => reply,
            Err(error) if error.outcome_unknown() => return Placed::Unknown(unanswered("orders", error)),
            Err(error) => return Placed::Refused(unanswered("orders", error)),
        };
        let status = reply.status();
        if status.is_success() {
            return match decode::<Made>("orders", reply).await {
                Ok(order) => Placed::Order(order.id),
                Err(trouble) => Placed::Unknown(trouble),
            };
        }
        let trouble = Trouble { service: "orders", problem: Box::new(reply.problem().await), answered: true };
        let order =
            trouble.problem.instance.as_deref().and_then(|path| path.strip_prefix("/orders/")?.parse().ok());
        match order {
            Some(id) => Placed::Order(id),
            None if status == StatusCode::CONFLICT => Placed::InFlight,
            None if status.is_client_error() => Placed::Refused(trouble),
            // Before an order is written, orders asks users and catalog; after it, it would say which order.
            None => Placed::Unknown(trouble),
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// Whether the service is well and refuses what it was asked.
    pub fn is_refusal(&self) -> bool {
        self.answered && (400..500).contains(&self.problem.status)
    }

    /// What is wrong, in words of the service.
    pub fn detail(&self) -> &str {
        self.problem.detail.as_deref().unwrap_or(&self.problem.title)
    }
}

async fn read<T: DeserializeOwned>(service: &'static str, call: Call) -> Result<T, Trouble> {
    decode(service, ask(service, call).await?).await
}

/// The answer to a call, if it is one of success.
async fn ask(service: &'static str, call: Call) -> Result<Reply, Trouble> {
    match call.send().await {
        Ok(reply) if reply.status().is_success() => Ok(reply),
        Ok(reply) => {
            let problem = Box::new(reply.problem().await);
            tracing::warn!(service, status = problem.status, code = %problem.code, "a part of a page is not there");
            Err(Trouble { service, problem, answered: true })
        }
        Err(error) => Err(unanswered(service, error)),
    }
}

fn unanswered(service: &'static str, error: CallError) -> Trouble {
    tracing::warn!(service, %error, "a part of a page is not there");
    Trouble { service, problem: Box::new(Error::from(error).as_problem().clone()), answered: false }
}

async fn decode<T: DeserializeOwned>(service: &'static str, reply: Reply) -> Result<T, Trouble> {
    reply.json().await.map_err(|error| {
        tracing::error!(service, %error, "an answer is not as it should be");
        Trouble { service, problem: Box::new(Error::from(error).as_problem().clone()), answered: true }
    })
}

/// What is not there is an answer too.
fn found<T>(answer: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(trouble) if trouble.is_refusal() && trouble.problem.status == 404 => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

fn is_old(headers: &HeaderMap) -> bool {
    headers.contains_key(FALLBACK)
}
