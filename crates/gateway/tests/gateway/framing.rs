//! Bytes that servers read differently: none reaches a service in a form that can be read in two ways.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{Stage, raw, recorder, saying};

/// Sends bytes; returns the statuses answered and what the service got, one text per connection.
async fn pass(bytes: &str) -> (Vec<u16>, Vec<String>) {
    let (service, records) = recorder().await;
    let stage = Stage::new(&["- /** -> recorder"]).await.with("recorder", service);
    let answer = raw(stage.address(), bytes.as_bytes(), |_| false).await;
    stage.stop().await;
    let statuses = answer.match_indices("HTTP/1.1 ").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap());
    let records = records.lock().unwrap().iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
    (statuses.collect(), records)
}

/// The request must be refused with a problem before any byte reaches the service, and the connection closed.
async fn refused(bytes: &str, status: u16) {
    let (statuses, records) = pass(bytes).await;
    is_problem(&answers(bytes).await, status);
    assert_eq!(statuses, [status], "{bytes:?}");
    assert_eq!(records, [""; 0], "{bytes:?}");
}

/// The request must reach the service once, with this body and one statement of its length, and the connection
/// must close after it: what follows may belong to the body by another reading.
async fn settled(bytes: &str, body: &str) {
    let (statuses, records) = pass(bytes).await;
    assert_eq!(statuses, [200], "{bytes:?}");
    let [record] = &records[..] else { panic!("{bytes:?} gave {records:?}") };
    let (head, rest) = record.split_once("\r\n\r\n").unwrap();
    let stated = |name: &str| head.lines().filter(|l| l.starts_with(name)).count();
    assert_eq!(stated("content-length:") + stated("transfer-encoding:"), 1, "{record:?}");
    assert!(!record.contains("smuggled"), "{record:?}");
    assert!(!head.contains('\n') || head.replace("\r\n", "").find(['\r', '\n']).is_none(), "{record:?}");
    match stated("content-length:") {
        1 => assert_eq!(rest, body),
        _ => assert_eq!(rest, format!("{:X}\r\n{body}\r\n0\r\n\r\n", body.len())),
    }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_length_and_a_coding_become_one_and_the_connection_closes() {
    let chunked = format!("3\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
    settled(
        &format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
        ),
        "abc",
    )
    .await;
    settled(
        &format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n{chunked}"
        ),
        "abc",
    )
    .await;
}

#[tokio::test]
async fn other_codings_are_refused() {
    for coding in
        ["gzip, chunked", "chunked, chunked", "identity, chunked", "\"chunked\"", "chunked;a=b", "xchunked"]
    {
        let bytes = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n"
        );
        let (statuses, records) = pass(&bytes).await;
        // Codings that hyper cannot even frame close the connection without an answer.
        assert!(statuses.is_empty() || statuses == [400], "{coding}: {statuses:?}");
        assert_eq!(records, [""; 0], "{coding}");
    }
    let twice = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(twice, 400).await;
    let (statuses, records) =
        pass("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(!statuses.contains(&200) && records.is_empty(), "{statuses:?} {records:?}");
}

#[tokio::test]
async fn bad_lengths_never_reach_a_service() {
    for length in ["+3", "-3", "3,4", "0x3", "3 3", "", "99999999999999999999"] {
        let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nabc{SMUGGLED}");
        let (statuses, records) = pass(&bytes).await;
        assert!(!statuses.contains(&200) && records.is_empty(), "{length:?}: {statuses:?} {records:?}");
    }
    let two =
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc{SMUGGLED}");
    let (statuses, records) = pass(&two).await;
    assert!(!statuses.contains(&200) && records.is_empty(), "{statuses:?} {records:?}");
}

#[tokio::test]
async fn bad_chunks_break_the_request_off() {
    for body in [
        "x\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc",
        "3\r\nabcd\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
    ] {
        let bytes =
            format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}{SMUGGLED}");
        let (statuses, records) = pass(&bytes).await;
        let all = records.concat();
        assert_eq!(statuses, [400], "{body:?}: the client is to blame, not the service");
        assert!(!all.contains("smuggled") && !all.ends_with("0\r\n\r\n"), "{body:?}: {records:?}");
    }
}

#[tokio::test]
async fn broken_heads_are_refused() {
    refused("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded: 2\r\n\r\n", 400).await;
    refused("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400).await;
    refused("GET / HTTP/1.1\r\nhost: a\r\nx\0y: 1\r\n\r\n", 400).await;
    refused("GET / HTTP/1.1\r\nhost: a\r\nx: 1\rGET /smuggled HTTP/1.1\r\n\r\n", 400).await;
    refused("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400).await;
    refused("GET / HTTP/1.2\r\nhost: a\r\n\r\n", 400).await;
    refused("GET /\u{1} HTTP/1.1\r\nhost: a\r\n\r\n", 400).await;
}

#[tokio::test]
async fn the_host_is_named_once_and_the_target_agrees() {
    let close = "connection: close\r\n";
    refused(&format!("GET / HTTP/1.1\r\n{close}\r\n"), 400).await;
    refused(&format!("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n{close}\r\n"), 400).await;
    refused(&format!("GET http://b/ HTTP/1.1\r\nhost: a\r\n{close}\r\n"), 400).await;
    refused(&format!("GET https://a/ HTTP/1.1\r\nhost: a\r\n{close}\r\n"), 400).await;
    let (statuses, records) = pass(&format!("GET http://a/x HTTP/1.1\r\nhost: a\r\n{close}\r\n")).await;
    assert_eq!(statuses, [200]);
    assert!(
        records[0].starts_with("GET /x HTTP/1.1\r\n") && records[0].contains("host: a\r\n"),
        "{records:?}"
    );
}

#[tokio::test]
async fn bare_line_feeds_are_not_passed_on() {
    let (statuses, records) = pass("GET / HTTP/1.1\nhost: a\nconnection: close\n\n").await;
    let all = records.concat();
    assert!(statuses == [400] || !all.replace("\r\n", "").contains(['\r', '\n']), "{records:?}");
}

#[tokio::test]
async fn heads_and_targets_have_a_size() {
    let long = "x".repeat(40_000);
    refused(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), 431).await;
    refused(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(101)), 431).await;
    let (statuses, records) = pass(&format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000))).await;
    assert!(matches!(statuses[..], [414 | 431]), "{statuses:?}");
    assert!(records.is_empty());
}

#[tokio::test]
async fn pipelined_requests_are_answered_one_after_the_other() {
    let one = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = "GET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let (statuses, records) = pass(&format!("{one}{last}")).await;
    assert_eq!(statuses, [200, 200]);
    assert_eq!(records.concat().matches(" HTTP/1.1\r\n").count(), 2, "{records:?}");
}

/// What the client reads, to the end of the connection.
async fn answers(bytes: &str) -> String {
    let stage = Stage::new(&["- /** -> users"]).await.with("users", saying("u").await);
    let answer = raw(stage.address(), bytes.as_bytes(), |_| false).await;
    stage.stop().await;
    answer
}

fn is_problem(answer: &str, status: u16) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    let problem: madang_wire::Problem = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!((problem.status, &*problem.code), (status, "MDG-GW-003"));
    let request_id = problem.request_id.unwrap();
    assert!(head.contains(&format!("x-request-id: {request_id}")), "{answer}");
}

/// A head that cannot be read comes after answers of all sizes on the same connection: they pass as they are,
/// and only it is answered with a problem.
#[tokio::test]
async fn an_unreadable_head_after_answers_is_a_problem_and_the_answers_are_whole() {
    for size in [0, 1, 900, 5_000, 200_000] {
        let text = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".repeat(size / 40 + 1);
        let body: String = text[..size].to_owned();
        let stage = Stage::new(&["- /** -> users"]).await.with("users", saying(body.clone()).await);
        let mut stream = tokio::net::TcpStream::connect(stage.address()).await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let answer = read_answer(&mut stream).await;
            assert!(answer.0.starts_with("HTTP/1.1 200 OK"), "{}", answer.0);
            assert_eq!(answer.1, body, "size {size}");
        }
        stream.write_all(b"GET / HTTP/1.1\r\nhost : a\r\n\r\n").await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        is_problem(&rest, 400);
    }
}

/// An answer with a length: its head and its body.
async fn read_answer(stream: &mut tokio::net::TcpStream) -> (String, String) {
    let mut came = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&came).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return (head.to_owned(), body.to_owned());
            }
        }
        assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0, "ended early: {text}");
    }
}
