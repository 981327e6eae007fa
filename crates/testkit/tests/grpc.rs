//! gRPC from a client outside through the gateway, and between services, as `tonic` speaks it.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_testkit::{Placement, Prepared, TestSystem};
use serde_json::json;
use shop_payments_api::{
    ChargeRequest, LedgerRequest, Outcome, Transaction, payments_client::PaymentsClient,
};
use tokio::net::TcpStream;
use tonic::{Code, Request, transport::Channel};

async fn client(shop: &TestSystem) -> PaymentsClient<Channel> {
    let gateway = Channel::from_shared(format!("http://{}", shop.gateway_address())).unwrap();
    PaymentsClient::new(gateway.connect().await.unwrap())
}

fn charge(key: &str, amount: i64) -> Request<ChargeRequest> {
    let message = ChargeRequest { user: 2, order: "order-9".into(), amount, currency: "KRW".into() };
    let mut request = Request::new(message);
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn read(client: &mut PaymentsClient<Channel>) -> Vec<Transaction> {
    let mut stream = client.ledger(LedgerRequest { after: 0 }).await.unwrap().into_inner();
    let mut ledger = Vec::new();
    while let Some(transaction) = stream.message().await.unwrap() {
        ledger.push(transaction);
    }
    ledger
}

/// Whatever runs where and whichever way orders asks payments, it is the same money.
#[tokio::test]
async fn payments_are_asked_over_grpc_from_outside_and_by_orders() {
    for placement in [Placement::Processes, Placement::Monolith] {
        let prepared = Prepared::shop();
        prepared.edit("orders/service.toml", "${PAYMENTS_OVER:-http}", "grpc");
        let mut shop = prepared.start(placement).await;
        let placed = shop.post("/orders", json!({"user": 1, "product": "Book"})).await;
        assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());

        let mut client = client(&shop).await;
        let paid = client.charge(charge("k1", 700)).await.unwrap().into_inner();
        assert_eq!(paid.outcome(), Outcome::Captured);
        let again = client.charge(charge("k1", 700)).await.unwrap().into_inner();
        assert_eq!(again, paid, "the same key is the same charge");
        let refused = client.charge(charge("k1", 701)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

        let ledger = read(&mut client).await;
        let charges: Vec<_> = ledger.iter().filter(|it| it.kind == "charge").collect();
        assert_eq!(charges.len(), 2, "{ledger:?}");
        assert!(ledger.iter().all(|it| it.entries.iter().map(|entry| entry.amount).sum::<i64>() == 0));
        shop.down().await;
    }
}

/// The head of the answer to a charge that says how long it has, by a client that does not look at the clock itself.
async fn ask_within(gateway: SocketAddr, time: &str) -> HeaderMap {
    let stream = TokioIo::new(TcpStream::connect(gateway).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{gateway}/shop.payments.v1.Payments/Charge"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", time)
        .header("idempotency-key", "k9")
        .body(Full::new(Bytes::from_static(&[0; 5])));
    sender.send_request(request.unwrap()).await.unwrap().into_parts().0.headers
}

/// What Madang itself answers is a status of gRPC, with the code of its page.
#[tokio::test]
async fn what_goes_wrong_on_the_way_is_a_status() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let mut client = client(&shop).await;

    let mut hurried = charge("k1", 1);
    hurried.set_timeout(Duration::from_nanos(1));
    let late = client.charge(hurried).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late}");

    // The only instance stops answering: the client's own time limit holds at every hop.
    let pid = shop.pids("payments").await[0];
    madang_testkit::stop(pid);
    let begun = tokio::time::Instant::now();
    let late = ask_within(shop.gateway_address(), "300m").await;
    assert_eq!(late["grpc-status"], "4", "DEADLINE_EXCEEDED: {late:?}");
    assert!(late["grpc-message"].to_str().unwrap().starts_with("MDG-CALL-003"), "{late:?}");
    assert!(late.contains_key("x-request-id"), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    madang_testkit::signal(pid, rustix::process::Signal::CONT);

    // It goes on.
    let asked = async {
        loop {
            match client.charge(charge("k2", 1)).await {
                // What it heard while it was stopped is being answered.
                Err(status) if status.code() == Code::Aborted => tokio::task::yield_now().await,
                other => break other.unwrap().into_inner(),
            }
        }
    };
    let paid = tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    assert_eq!(paid.outcome(), Outcome::Captured);
    let ledger = read(&mut client).await;
    assert_eq!(ledger.iter().filter(|it| it.kind == "charge").count(), 1, "{ledger:?}");
    shop.down().await;
}
