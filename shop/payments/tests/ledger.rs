//! The ledger cannot be made to lie: neither by any order of requests nor by SQL.

use madang::sqlx::{self, SqlitePool, migrate::Migrator, sqlite::SqlitePoolOptions};
use proptest::prelude::*;
use shop_idempotency::Key;
use shop_money::{Currency, Money};
use shop_payments::{
    audit,
    charge::{self, NewCharge, NewRefund},
    ledger::{self, OPENING, Owner},
};

static MIGRATIONS: Migrator = madang::migrate!("./migrations");

/// One connection, because each would have a database in memory of its own.
async fn empty() -> SqlitePool {
    let options = SqlitePoolOptions::new().max_connections(1);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    MIGRATIONS.run(&pool).await.unwrap();
    pool
}

#[derive(Debug, Clone)]
enum Request {
    Charge { user: i64, amount: i64, currency: Currency },
    Refund { charge: i64, amount: Option<i64> },
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let currency = prop_oneof![Just(Currency::Krw), Just(Currency::Usd)];
    let amount = prop_oneof![1..1_000_i64, 1..600_000_000_i64, Just(i64::MAX)];
    let charge = (1..4_i64, amount, currency).prop_map(|(user, amount, currency)| Request::Charge {
        user,
        amount,
        currency,
    });
    let refund = (1..12_i64, prop::option::of(1..700_000_000_i64))
        .prop_map(|(charge, amount)| Request::Refund { charge, amount });
    prop::collection::vec(prop_oneof![3 => charge, 2 => refund], 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn money_is_neither_made_nor_lost(requests in requests()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = empty().await;
            for (n, request) in requests.iter().enumerate() {
                perform(&pool, n, request).await;
            }
            let balance = audit::check(&pool).await.unwrap();
            assert!(balance.balanced, "{balance:?}");
            assert_conserved(&pool).await;
        });
    }
}

async fn perform(pool: &SqlitePool, n: usize, request: &Request) {
    let mut tx = pool.begin().await.unwrap();
    match request {
        Request::Charge { user, amount, currency } => {
            let key = Key::parse(&format!("key-{n}")).unwrap();
            let new =
                NewCharge { user: *user, order: format!("order-{n}"), amount: *amount, currency: *currency };
            charge::charge(&mut tx, &key, &new, 0).await.unwrap();
        }
        Request::Refund { charge, amount } => {
            let _ = charge::refund(&mut tx, *charge, &NewRefund { amount: *amount }, 0).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

/// What the users and the shop have is what the bank gave.
async fn assert_conserved(pool: &SqlitePool) {
    for currency in Currency::ALL {
        let mut have = 0;
        for owner in [Owner::User(1), Owner::User(2), Owner::User(3), Owner::Shop] {
            let balance = of(pool, owner, currency).await;
            assert!(balance >= 0, "{owner:?} has {balance} {currency}");
            have += balance;
        }
        assert_eq!(have, -of(pool, Owner::Bank, currency).await);
        let opening = OPENING.iter().find(|money| money.currency == currency).unwrap().amount;
        assert_eq!(have % opening, 0);
    }
}

async fn of(pool: &SqlitePool, owner: Owner, currency: Currency) -> i64 {
    let balances: Vec<Money> = ledger::balances(pool, owner).await.unwrap();
    balances.into_iter().find(|money| money.currency == currency).map_or(0, |money| money.amount)
}

/// Each statement tries to break a rule; each must be refused, at the latest when it commits.
#[tokio::test]
async fn the_schema_refuses_what_does_not_balance() {
    let pool = empty().await;
    perform(&pool, 1, &Request::Charge { user: 1, amount: 100, currency: Currency::Krw }).await;
    let check = async |statements: &'static str, why: &str| {
        let mut tx = pool.begin().await.unwrap();
        let done = match sqlx::raw_sql(statements).execute(&mut *tx).await {
            Ok(_) => tx.commit().await,
            Err(error) => Err(error),
        };
        let error = done.expect_err(statements).to_string();
        assert!(error.contains(why), "{statements}: {error}");
    };
    check(
        "INSERT INTO transactions (id, kind, reference, at, seal) VALUES (9, 'charge', 'x', 0, 9)",
        "FOREIGN KEY",
    )
    .await;
    check(
        "INSERT INTO transactions (id, kind, reference, at, seal) VALUES (9, 'charge', 'x', 0, 1)",
        "CHECK",
    )
    .await;
    check(
        "INSERT INTO transactions (id, kind, reference, at, seal) VALUES (9, 'charge', 'x', 0, 9);
         INSERT INTO entries VALUES (9, 0, 1, 1), (9, 1, 2, 1);
         INSERT INTO seals VALUES (9)",
        "does not sum to zero",
    )
    .await;
    check(
        "INSERT INTO transactions (id, kind, reference, at, seal) VALUES (9, 'charge', 'x', 0, 9);
         INSERT INTO seals VALUES (9)",
        "has no entries",
    )
    .await;
    check("INSERT INTO entries VALUES (1, 7, 1, 5)", "is sealed").await;
    check("UPDATE entries SET amount = 5", "never changed").await;
    check("DELETE FROM entries", "never removed").await;
    check("DELETE FROM seals", "never removed").await;
    check("UPDATE accounts SET balance = -1 WHERE owner = 'user:1'", "CHECK").await;
    let balance = audit::check(&pool).await.unwrap();
    assert!(balance.balanced && balance.transactions == 2, "{balance:?}");
}
