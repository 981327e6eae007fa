//! What the services say before the load, and once every order is over after it.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, Failure},
    scenario::{PRODUCTS, Page, Plan},
};

/// How long orders may take to be over, and how often it is asked: nobody tells outsiders.
const PATIENCE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(200);
/// How many orders and transactions are read at once.
const PAGE: usize = 500;

/// What was so before the first customer came.
#[derive(Debug, Clone)]
pub struct Before {
    /// The last order that there was.
    pub order: i64,
    /// The last transaction of the ledger.
    pub transaction: i64,
    /// How many of each product could be ordered.
    pub available: BTreeMap<i64, i64>,
}

/// What is so when every order is over.
#[derive(Debug, Clone, Default)]
pub struct After {
    /// Every order that was made meanwhile, whoever made it.
    pub orders: Vec<Order>,
    /// Every transaction that was made meanwhile.
    pub transactions: Vec<Transaction>,
    /// What the ledger finds when it adds itself up.
    pub balance: Balance,
    /// How many of each product can be ordered.
    pub available: BTreeMap<i64, i64>,
}

/// An order.
#[derive(Debug, Clone, Deserialize)]
pub struct Order {
    /// The id.
    pub id: i64,
    /// Who ordered.
    pub user: i64,
    /// Where it stands.
    pub status: String,
    /// What it costs.
    pub total: Money,
    /// What is ordered.
    pub lines: Vec<Line>,
}

/// Some of one product.
#[derive(Debug, Clone, Deserialize)]
pub struct Line {
    /// The product.
    pub product_id: i64,
    /// How many.
    pub quantity: i64,
}

/// An amount in minor units.
#[derive(Debug, Clone, Deserialize)]
pub struct Money {
    /// The currency.
    pub currency: String,
    /// The amount.
    pub amount: i64,
}

/// A transaction of the ledger.
#[derive(Debug, Clone, Deserialize)]
pub struct Transaction {
    /// The id.
    pub id: i64,
    /// Why the money moved: `opening`, `charge` or `refund`.
    pub kind: String,
    /// What for: the key of an order.
    pub reference: String,
    /// What it does to each account.
    pub entries: Vec<Entry>,
}

/// What a transaction does to one account.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// Whose account: `user:7`, `shop` or `bank`.
    pub account: String,
    /// The currency.
    pub currency: String,
    /// The change.
    pub amount: i64,
}

/// What the ledger finds when it adds itself up.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Balance {
    /// Whether all is as it must be.
    pub balanced: bool,
    /// How many transactions there are, the ids of which have no gaps.
    pub transactions: i64,
    /// The sum of all entries in each currency.
    pub sums: Vec<Money>,
}

#[derive(Deserialize)]
struct Ledger {
    items: Vec<Transaction>,
    next: Option<i64>,
}

impl Order {
    /// Whether it goes nowhere from here.
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "confirmed" | "out_of_stock" | "declined" | "failed" | "refunded")
    }
}

/// What is so now, once the latest orders are over.
///
/// # Errors
/// If a service does not answer, or an order is not over in time.
pub async fn before(client: &Client, plan: &Plan) -> Result<Before, Failure> {
    let order = last_order(client).await?;
    // An order that is under way now would be counted neither before nor after.
    let lately = (order - PAGE as i64).max(0);
    let orders = over(client, lately).await?;
    if let Some(open) = orders.iter().find(|order| !order.is_over()) {
        return Err(Failure::Unfit(format!("order {} is not over: it is {}", open.id, open.status)));
    }
    let balance: Balance = client.read("/payments/balance-check").await?;
    let mut available = available(client).await?;
    available.retain(|id, _| plan.products.iter().any(|product| product.id == *id));
    Ok(Before { order, transaction: balance.transactions, available })
}

/// What is so once every order since then is over, or has had time enough to be.
///
/// # Errors
/// If a service does not answer.
pub async fn after(client: &Client, before: &Before) -> Result<After, Failure> {
    let began = Instant::now();
    // Services that were killed a moment ago may still be starting.
    let orders = loop {
        match over(client, before.order).await {
            Ok(orders) => break orders,
            Err(failure) if began.elapsed() > PATIENCE => return Err(failure),
            Err(_) => sleep(AGAIN).await,
        }
    };
    let mut transactions = Vec::new();
    let mut cursor = Some(before.transaction);
    while let Some(after) = cursor {
        let page: Ledger = client.read(&format!("/payments/ledger?cursor={after}&limit={PAGE}")).await?;
        transactions.extend(page.items);
        cursor = page.next;
    }
    let balance = client.read("/payments/balance-check").await?;
    let mut available = available(client).await?;
    available.retain(|id, _| before.available.contains_key(id));
    Ok(After { orders, transactions, balance, available })
}

/// Every order after an id, as soon as all are over; as they are, if that takes too long.
async fn over(client: &Client, after: i64) -> Result<Vec<Order>, Failure> {
    let began = Instant::now();
    loop {
        let orders = orders(client, after).await?;
        if orders.iter().all(Order::is_over) || began.elapsed() > PATIENCE {
            return Ok(orders);
        }
        sleep(AGAIN).await;
    }
}

async fn orders(client: &Client, mut after: i64) -> Result<Vec<Order>, Failure> {
    let mut orders: Vec<Order> = Vec::new();
    loop {
        let page: Vec<Order> = client.read(&format!("/orders?after={after}&limit={PAGE}")).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map_or(after, |last| last.id);
        orders.extend(page);
        if is_last {
            return Ok(orders);
        }
    }
}

/// The id of the last order, by halves: orders are listed from an id on, the oldest first.
async fn last_order(client: &Client) -> Result<i64, Failure> {
    let next = async |after: i64| -> Result<Option<i64>, Failure> {
        let page: Vec<Order> = client.read(&format!("/orders?after={after}&limit=1")).await?;
        Ok(page.first().map(|order| order.id))
    };
    let (mut last, mut step) = (0, 1_i64);
    // `last` is an order or 0, and beyond `end` there is none.
    let mut end = loop {
        match next(last + step - 1).await? {
            Some(id) => (last, step) = (id, step.saturating_mul(2)),
            None => break last + step - 1,
        }
    };
    while last < end {
        let middle = last + (end - last) / 2;
        match next(middle).await? {
            Some(id) => last = id,
            None => end = middle,
        }
    }
    Ok(last)
}

async fn available(client: &Client) -> Result<BTreeMap<i64, i64>, Failure> {
    let page: Page = client.read(PRODUCTS).await?;
    Ok(page.items.into_iter().map(|product| (product.id, product.available)).collect())
}
