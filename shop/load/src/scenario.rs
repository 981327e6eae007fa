//! What customers do: who they are, what there is to buy, and what each one wants, drawn from a seed.

use http::Method;
use rand::{RngExt, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::Scenario,
    client::{Client, Failure},
};

/// How many customers buy, over and over.
const BUYERS: usize = 20;
/// The name of each: they are kept from one run to the next.
const BUYER: &str = "Load buyer";
/// How many there are of the product that everybody wants.
pub const FLASH_STOCK: i64 = 25;
/// Which product that is.
const FLASH_PRODUCT: &str = "Signed First Edition";
/// The highest price, in won, of what is bought: the accounts are to last.
const AFFORDABLE: i64 = 1_000_000;
/// What is searched for.
const WORDS: [&str; 8] =
    ["linen", "lamp", "가방", "oak shelf", "한지", "red cup", "first edition", "nothing-like-it"];

/// Who comes and what for.
#[derive(Debug, Clone)]
pub struct Plan {
    scenario: Scenario,
    buyers: Vec<i64>,
    /// What may be bought, and is counted before and after.
    pub products: Vec<Product>,
}

/// A product as the catalog shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Product {
    /// The id.
    pub id: i64,
    name: Names,
    prices: Vec<Price>,
    /// How many can be ordered.
    pub available: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct Names {
    en: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Price {
    currency: String,
    amount: i64,
}

/// A page of products.
#[derive(Debug, Clone, Deserialize)]
pub struct Page {
    /// The products.
    pub items: Vec<Product>,
}

/// Where the products are that a plan is made of, all of them in one answer.
pub const PRODUCTS: &str = "/products?limit=100";

#[derive(Deserialize)]
struct User {
    id: i64,
    name: String,
}

/// What one customer wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// To see a page; what kind it is for the report.
    See(&'static str, String),
    /// To buy.
    Buy(Purchase),
}

/// What one customer buys.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    /// Names the order.
    pub key: String,
    /// The order.
    pub order: Value,
    /// Whether the button is pressed twice.
    pub twice: bool,
}

impl Plan {
    /// Asks the shop what there is, and makes what a scenario needs: buyers, and for a sale its stock.
    pub async fn prepare(client: &Client, scenario: Scenario) -> Result<Self, Failure> {
        let affordable = |product: &Product| {
            product.prices.iter().any(|price| price.currency == "KRW" && price.amount <= AFFORDABLE)
        };
        let page: Page = client.read(PRODUCTS).await?;
        let mut products: Vec<Product> = page.items.into_iter().filter(affordable).collect();
        if scenario == Scenario::FlashSale {
            products.retain(|product| product.name.en == FLASH_PRODUCT);
            let Some(product) = products.first_mut() else {
                return Err(Failure::Unfit(format!("the shop has no {FLASH_PRODUCT:?}")));
            };
            let path = format!("/products/{}/stock", product.id);
            *product = client.write(Method::PUT, &path, &json!({"quantity": FLASH_STOCK})).await?;
        }
        if products.is_empty() {
            return Err(Failure::Unfit("the shop has nothing that could be bought".to_owned()));
        }
        let buyers = if scenario == Scenario::Browse { Vec::new() } else { buyers(client).await? };
        Ok(Self { scenario, buyers, products })
    }

    /// What the next customer wants.
    pub fn draw(&self, random: &mut StdRng) -> Want {
        match self.scenario {
            Scenario::Browse => self.browse(random),
            Scenario::Checkout => {
                let count = random.random_range(1..=3);
                let mut chosen: Vec<usize> = Vec::new();
                for _ in 0..count {
                    // Every second one is the first product, as hot keys are.
                    let hot = random.random_bool(0.5);
                    let index = if hot { 0 } else { random.random_range(0..self.products.len()) };
                    if !chosen.contains(&index) {
                        chosen.push(index);
                    }
                }
                self.buy(random, &chosen)
            }
            Scenario::FlashSale => self.buy(random, &[0]),
        }
    }

    fn browse(&self, random: &mut StdRng) -> Want {
        match random.random_range(0..10) {
            0 => Want::See("front page", "/".to_owned()),
            1..=2 => Want::See("list", "/products".to_owned()),
            3..=5 => {
                let word = WORDS[random.random_range(0..WORDS.len())];
                Want::See("search", format!("/products?query={}", escaped(word)))
            }
            _ => {
                // The square of a number from 0 to 1: few products are looked at most.
                let popular = random.random::<f64>().powi(2) * self.products.len() as f64;
                let product = &self.products[(popular as usize).min(self.products.len() - 1)];
                Want::See("product", format!("/products/{}", product.id))
            }
        }
    }

    fn buy(&self, random: &mut StdRng, chosen: &[usize]) -> Want {
        let user = self.buyers[random.random_range(0..self.buyers.len())];
        let line = |index: &usize| {
            let quantity = random.random_range(1..=2);
            json!({"product": self.products[*index].name.en, "quantity": quantity})
        };
        let lines: Vec<Value> = chosen.iter().map(line).collect();
        let currency = if random.random_bool(0.8) { "KRW" } else { "USD" };
        // Of this run alone: an order of an earlier one with the same seed is another order.
        let key = format!("load-{:032x}", rand::random::<u128>());
        let order = json!({"user": user, "lines": lines, "currency": currency});
        Want::Buy(Purchase { key, order, twice: random.random_bool(0.1) })
    }
}

/// Those who bought before, and as many new ones as are missing.
async fn buyers(client: &Client) -> Result<Vec<i64>, Failure> {
    let users: Vec<User> = client.read("/users?limit=500").await?;
    let known = users.into_iter().filter(|user| user.name.starts_with(BUYER));
    let mut buyers: Vec<i64> = known.map(|user| user.id).take(BUYERS).collect();
    while buyers.len() < BUYERS {
        let name = json!({"name": format!("{BUYER} {}", buyers.len() + 1)});
        buyers.push(client.write::<User>(Method::POST, "/users", &name).await?.id);
    }
    Ok(buyers)
}

fn escaped(text: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes()
        .map(|byte| if safe(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn plan(scenario: Scenario) -> Plan {
        let product = |id: i64| Product {
            id,
            name: Names { en: format!("Product {id}") },
            prices: vec![Price { currency: "KRW".to_owned(), amount: 1 }],
            available: 10,
        };
        Plan { scenario, buyers: vec![7, 8], products: (1..=50).map(product).collect() }
    }

    fn draw(scenario: Scenario, seed: u64) -> Vec<Want> {
        let (plan, mut random) = (plan(scenario), StdRng::seed_from_u64(seed));
        (0..1_000).map(|_| plan.draw(&mut random)).collect()
    }

    #[test]
    fn who_browses_sees_every_kind_of_page_and_the_same_ones_from_the_same_seed() {
        let wants = draw(Scenario::Browse, 1);
        let kinds: BTreeSet<&str> = wants
            .iter()
            .map(|want| match want {
                Want::See(kind, _) => *kind,
                Want::Buy(_) => "buys",
            })
            .collect();
        assert_eq!(kinds, ["front page", "list", "product", "search"].into());
        assert_eq!(wants, draw(Scenario::Browse, 1));
        assert_ne!(wants, draw(Scenario::Browse, 2));
    }

    #[test]
    fn no_product_is_in_two_lines_and_no_key_comes_twice() {
        let (mut keys, mut twice) = (BTreeSet::new(), 0);
        for want in draw(Scenario::Checkout, 3) {
            let Want::Buy(purchase) = want else { panic!("a customer who does not buy") };
            let lines = purchase.order["lines"].as_array().unwrap();
            let names: BTreeSet<&str> = lines.iter().map(|line| line["product"].as_str().unwrap()).collect();
            assert!(names.len() == lines.len() && (1..=3).contains(&lines.len()), "{lines:?}");
            twice += usize::from(purchase.twice);
            assert!(keys.insert(purchase.key));
        }
        assert!((50..200).contains(&twice), "{twice}");
    }
}
