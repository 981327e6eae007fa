//! Messages that end too early or not at all: none is taken for a whole one, and none is kept for ever.

use http::Response;
use http_body_util::BodyExt;
use madang_calls::Body;
use madang_model::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    floods::{ALONE, memory},
    frames::PATIENCE,
    stage::{Client, Stage, manifest, recorder, serve},
    strict,
};

/// What a client sends and then ends its side, or the connection.
#[tokio::test]
async fn what_is_cut_off_is_no_request() {
    let (service, records) = recorder().await;
    let stage = Stage::new(&["- /** -> recorder"]).await.with("recorder", service);
    for (name, bytes) in [
        ("line", "GET /a HT"),
        ("head", "GET /a HTTP/1.1\r\nhost: a\r\n"),
        ("head but for its last byte", "GET /a HTTP/1.1\r\nhost: a\r\n\r"),
        ("body", "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"),
        ("chunk", "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
        ("last chunk", "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"),
        ("trailers", "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n"),
    ] {
        for half in [true, false] {
            records.lock().unwrap().clear();
            let mut stream = TcpStream::connect(stage.address()).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            if half {
                stream.shutdown().await.unwrap();
                let _ =
                    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the gateway ends it");
            }
            drop(stream);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(!answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
            for record in records.lock().unwrap().iter() {
                assert_eq!(strict::requests(record), Ok(Vec::new()), "{name}");
            }
        }
    }
    stage.stop().await;
}

/// What never ends is ended, before it has taken much.
#[tokio::test]
async fn what_does_not_end_is_ended() {
    let _alone = ALONE.lock().await;
    // It answers once it has read all.
    let service = serve(|request| async {
        let whole = request.into_body().collect().await.is_ok();
        Response::new(Body::from(if whole { "whole" } else { "cut" }))
    });
    let mut stage = Stage::new(&["- /** -> users"]).await.with("users", service.await);
    // Of a body whose length is not known the gap between two frames is bounded (ADR 0002), however much comes in it.
    stage.system.policy = idle("1s");
    stage.apply().await.unwrap();
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (name, first, more) in [
        ("line", "GET /", "x"),
        ("name of a field", "GET / HTTP/1.1\r\nhost: a\r\n", "x"),
        ("value of a field", "GET / HTTP/1.1\r\nhost: a\r\nx: ", "y"),
        ("fields", "GET / HTTP/1.1\r\nhost: a\r\n", "x: y\r\n"),
        ("empty lines", "", "\r\n"),
        ("zeros of a chunk's size", chunked, "0"),
        ("extension of a chunk", &*format!("{chunked}1;"), "x"),
        ("trailers", &*format!("{chunked}0\r\n"), "x: y\r\n"),
    ] {
        let before = memory();
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let piece = more.repeat(4096 / more.len());
        let (mut reader, mut writer) = stream.split();
        let sending = async { while writer.write_all(piece.as_bytes()).await.is_ok() {} };
        let mut answer = Vec::new();
        let read = async {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk).await {
                answer.extend_from_slice(&chunk[..count]);
            }
        };
        let ended = timeout(PATIENCE, async {
            tokio::select! { () = sending => {}, () = read => {} }
        })
        .await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(ended.is_ok(), "{name}: it goes on after {answer}");
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
        let cost = memory().saturating_sub(before);
        assert!(cost < 16 * 1024 * 1024, "{name}: {cost} bytes");
        assert_eq!(Client::new(stage.address()).await.get("/").await.status, 200, "{name}");
    }
    stage.stop().await;
}

fn idle(time: &str) -> Limits {
    manifest(&format!("[policy]\nidle_timeout = \"{time}\"\n")).policy
}
