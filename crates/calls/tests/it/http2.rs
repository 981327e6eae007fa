//! HTTP/2 by prior knowledge: one shared connection.

use std::{sync::Arc, time::Duration};

use http::{Request, Version};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::Body;
use madang_model::Protocol;
use tokio::sync::Notify;

use crate::support::*;

#[tokio::test]
async fn calls_share_one_connection() {
    let server = Server::start(Protocol::H2c, |request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        tokio::time::sleep(Duration::from_millis(5)).await;
        ok(request.uri().to_string())
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let all = futures_util::future::join_all((0..50).map(|_| caller.get("/users"))).await;
    assert!(all.iter().all(|answer| *answer == (200, "http://users/users".to_owned())), "{all:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn streams_and_trailers_pass_in_both_directions() {
    let server = Server::start(Protocol::H2c, |request: Request<Incoming>| async {
        assert_eq!(request.headers()["te"], "trailers");
        ok(Body::incoming(request.into_body()))
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let (feed, body) = fed();
    let mut request = request("POST", "/", body);
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("connection", "te".parse().unwrap());
    let mut response = caller.send(request).await.unwrap();
    for part in ["one", "two"] {
        feed.send(data(part)).await.unwrap();
        assert_eq!(frame(response.body_mut()).await, part);
    }
    feed.send(trailers("grpc-status", "0")).await.unwrap();
    drop(feed);
    let rest = response.into_body().collect().await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced_while_its_streams_end() {
    let stop = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    let (stopping, finishing) = (stop.clone(), finish.clone());
    let server = Server::raw(Protocol::H2c, move |number, stream| {
        let (stop, finish) = (stopping.clone(), finishing.clone());
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let finish = finish.clone();
                async move {
                    if request.uri().path() == "/slow" {
                        finish.notified().await;
                    }
                    Ok::<_, std::convert::Infallible>(ok(number.to_string()))
                }
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut connection => return,
                () = stop.notified() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    assert_eq!(caller.get("/").await.1, "1");
    let mut slow = std::pin::pin!(caller.get("/slow"));
    let early = tokio::time::timeout(Duration::from_millis(20), &mut slow).await;
    assert!(early.is_err(), "{early:?}");
    stop.notify_one();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(caller.get("/").await.1, "2");
    let (records, _) = caller.client.drain_records();
    assert_eq!(records.last().unwrap().attempts, 1, "it was known before anything was tried");
    finish.notify_one();
    assert_eq!(slow.await.1, "1");
}
