//! An order that is watched while it goes on.

use std::sync::Arc;

use madang::{
    Service,
    axum::{
        Router,
        extract::State,
        http::StatusCode,
        response::IntoResponse,
        routing::{get, post},
    },
};
use madang_testkit::Browser;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::world::{browser, put, sign_in, start, without};

const WAY: [&str; 5] = ["pending", "reserved", "charging", "paid", "confirmed"];

/// Orders of which the test says how far they are.
fn staged(far: watch::Receiver<usize>) -> Service {
    let order = |far: usize| {
        let history: Vec<Value> =
            WAY[..far].iter().zip(1..).map(|(status, at)| json!({"status": status, "at": at})).collect();
        let line = json!({"product_id": 1, "product": "Book", "quantity": 1, "price": {"currency": "KRW", "amount": 5}});
        json!({"id": 7, "user": 1, "product": "Book", "status": WAY[far - 1], "total": {"currency": "KRW", "amount": 5},
            "lines": [line], "created_at": 1, "history": history})
    };
    let shown = async move |State(far): State<watch::Receiver<usize>>| {
        let far = *far.borrow();
        match far {
            0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            far => madang::Json(order(far)).into_response(),
        }
    };
    let placed = async || (StatusCode::ACCEPTED, madang::Json(json!({"id": 7})));
    Service::new("orders").routes(
        Router::new().route("/orders", post(placed)).route("/orders/{id}", get(shown)).with_state(far),
    )
}

async fn watched() -> (madang::test::TestApp, Browser, watch::Sender<usize>) {
    let (far, told) = watch::channel(1);
    let app = start([without("orders"), vec![staged(told)]].concat()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    (app, browser, far)
}

#[tokio::test]
async fn the_timeline_moves_with_the_order_and_ends_with_it() {
    let (_app, mut browser, far) = watched().await;
    let form = put(&mut browser, 1, 1).await.form("/shop/orders");
    let page = browser.submit(&form).await;
    assert!(
        page.has("data-live=\"/shop/orders/7/events\"") && page.has("data-status=\"Pending\""),
        "{}",
        page.html
    );
    assert!(page.has("http-equiv=\"refresh\""), "without a script it is loaded again: {}", page.html);
    let mut events = browser.events("/shop/orders/7/events").await;
    for (reached, status) in [(1, "Pending"), (2, "Reserved"), (4, "Paid")] {
        far.send_replace(reached);
        let moved = events.next().await.unwrap();
        assert_eq!(moved.event, "moved");
        assert!(moved.data.contains(&format!("data-status=\"{status}\"")), "{status}: {}", moved.data);
        assert!(
            moved.data.contains("class=\"now\"") && moved.data.contains("class=\"ahead\""),
            "{}",
            moved.data
        );
        if reached == 2 {
            // Orders is away for a while: nothing is said, and the stream goes on.
            far.send_replace(0);
        }
    }
    far.send_replace(5);
    let last = events.next().await.unwrap();
    assert_eq!(last.event, "over");
    assert!(
        last.data.contains("data-status=\"Confirmed\"") && !last.data.contains("class=\"ahead\""),
        "{}",
        last.data
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn too_many_watchers_are_told_so_and_a_place_is_given_back() {
    let (_app, browser, far) = watched().await;
    let first = browser.events("/shop/orders/7/events").await;
    let mut second = browser.events("/shop/orders/7/events").await;
    let refused = browser.window().open("/shop/orders/7/events").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.html);
    drop(first);
    far.send_replace(5);
    while second.next().await.is_some() {}
    let mut third = browser.events("/shop/orders/7/events").await;
    assert_eq!(third.next().await.unwrap().event, "over");
}

/// A stream does not hold up the end of the process.
#[tokio::test]
async fn watchers_are_let_go_when_the_process_stops() {
    let (app, browser, far) = watched().await;
    let far = Arc::new(far);
    let mut events = browser.events("/shop/orders/7/events").await;
    assert_eq!(events.next().await.unwrap().event, "moved");
    let began = tokio::time::Instant::now();
    app.stop().await;
    assert_eq!(events.next().await, None);
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
    drop(far);
}
