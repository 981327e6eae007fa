//! Exports as libraries send them, over HTTP and gRPC.

use std::io::Write;

use ::http::{Request, StatusCode, header};
use axum::{
    body::{Body, Bytes, to_bytes},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use madang_telemetry::{LogFilter, LogQuery};
use madang_wire::{
    Problem, TraceId,
    log::LogLine,
    otlp::{
        Message,
        collector::{
            logs::v1::ExportLogsServiceRequest,
            trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
        },
    },
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::LARGEST;
use crate::service_api::fixture::{Fixture, fixture};

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// An export of one span of this trace, and of one that has none.
fn export(trace: u128, service: &str) -> Value {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let start = since.as_nanos() as u64;
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
        "scopeSpans": [{ "spans": [
            { "traceId": format!("{trace:032x}"), "spanId": "0000000000000001", "name": "it", "startTimeUnixNano": start },
            { "traceId": "00000000000000000000000000000000", "spanId": "0000000000000001", "startTimeUnixNano": start }
        ] }]
    }] })
}

fn protobuf(export: Value) -> Vec<u8> {
    serde_json::from_value::<ExportTraceServiceRequest>(export).unwrap().encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn framed(packed: u8, message: &[u8]) -> Vec<u8> {
    [&[packed], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

async fn post(
    fixture: &Fixture,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response {
    let mut request = Request::post(path).header("authorization", format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    fixture.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

async fn bytes(answer: Response) -> Bytes {
    to_bytes(answer.into_body(), 1 << 20).await.unwrap()
}

/// Whose the span of a trace is: service, instance and release.
async fn kept(fixture: &Fixture, trace: u128) -> Option<(String, Option<String>, Option<String>)> {
    fixture.traces.flush().await.unwrap();
    let mut view = fixture.traces.get(TraceId(trace)).await.unwrap()?;
    let span = view.spans.pop()?;
    Some((span.service, span.instance, span.release))
}

#[tokio::test]
async fn every_form_over_http_is_kept_under_the_name_of_who_sends_it() {
    let fixture = fixture().await;
    let token = fixture.token("orders");
    let (json, protobuf_media) =
        (("content-type", "application/json; charset=utf-8"), ("content-type", "application/x-protobuf"));
    let packed = ("content-encoding", "gzip");
    for (trace, headers, body) in [
        (1, &[json][..], export(1, "payments").to_string().into_bytes()),
        (2, &[json, packed], gzip(export(2, "orders").to_string().as_bytes())),
        (3, &[protobuf_media], protobuf(export(3, "orders"))),
        (4, &[protobuf_media, packed], gzip(&protobuf(export(4, "orders")))),
    ] {
        let answer = post(&fixture, "/v1/traces", &token, headers, body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let media = answer.headers()[header::CONTENT_TYPE].clone();
        let rejected = match media.to_str().unwrap() {
            "application/json" => {
                let answer: Value = serde_json::from_slice(&bytes(answer).await).unwrap();
                answer["partialSuccess"]["rejectedSpans"].as_str().map(str::to_owned)
            }
            "application/x-protobuf" => {
                let answer = ExportTraceServiceResponse::decode(bytes(answer).await).unwrap();
                answer.partial_success.map(|partial| partial.rejected_spans.to_string())
            }
            other => panic!("{other}"),
        };
        assert_eq!(rejected.as_deref(), Some("1"), "the one without a trace");
        let expected =
            ("orders".to_owned(), Some("orders-a".to_owned()), Some("release of orders-a".to_owned()));
        assert_eq!(kept(&fixture, trace).await, Some(expected), "{trace}");
    }
}

#[tokio::test]
async fn a_unit_speaks_for_its_services_and_a_token_for_others_has_no_instance() {
    let fixture = fixture().await;
    for (trace, token, said, service, instance) in [
        (1, fixture.token("core"), "cart", "cart", Some("core-a")),
        (2, fixture.token("core"), "orders", "core", Some("core-a")),
        (3, fixture.token_of("pos"), "orders", "pos", None),
    ] {
        let media = [("content-type", "application/json")];
        let answer = post(&fixture, "/v1/traces", &token, &media, export(trace, said).to_string()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let (found, by, _) = kept(&fixture, trace).await.unwrap();
        assert_eq!((&*found, by.as_deref()), (service, instance));
    }
}

/// What is kept of a body: unit, instance and release.
async fn said(fixture: &Fixture, body: &str) -> Vec<(String, String, Option<String>)> {
    let filter = LogFilter { grep: Some(body.to_owned()), ..LogFilter::default() };
    let found = fixture.logs.query(LogQuery { filter, ..LogQuery::default() });
    found
        .map(|line| {
            let LogLine { unit, instance, release, .. } = line.unwrap();
            (unit, instance, release)
        })
        .collect()
        .await
}

#[tokio::test]
async fn log_records_over_both_transports_are_lines_of_who_sends_them() {
    let fixture = fixture().await;
    let keeping = tokio::spawn(fixture.logs.clone().run(std::future::pending()));
    let export = |body: &str| json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": body } }] }] }] });
    let protobuf =
        |export: Value| serde_json::from_value::<ExportLogsServiceRequest>(export).unwrap().encode_to_vec();
    let (json, packed) = (("content-type", "application/json"), ("content-encoding", "gzip"));
    let (protobuf_media, grpc) =
        (("content-type", "application/x-protobuf"), ("content-type", "application/grpc"));
    let over_grpc = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let grpc_gzip = &[grpc, ("grpc-encoding", "gzip")][..];
    for (said, path, headers, body) in [
        ("as json", "/v1/logs", &[json, packed][..], gzip(export("as json").to_string().as_bytes())),
        ("as protobuf", "/v1/logs", &[protobuf_media, packed], gzip(&protobuf(export("as protobuf")))),
        ("over grpc", over_grpc, grpc_gzip, framed(1, &gzip(&protobuf(export("over grpc"))))),
    ] {
        let answer = post(&fixture, path, &fixture.token("core"), headers, body).await;
        assert_eq!(answer.status(), StatusCode::OK, "{said}");
        let release = Some("release of core-a".to_owned());
        assert_eq!(self::said(&fixture, said).await, [("core".to_owned(), "core-a".to_owned(), release)]);
    }
    // Of a service that others start nobody knows the instance; it is found with its unit's, if it has one.
    for (service, unit) in [("pos", "pos"), ("cart", "core")] {
        let body = export(&format!("by {service}")).to_string();
        post(&fixture, "/v1/logs", &fixture.token_of(service), &[json], body).await;
        let expected = [(unit.to_owned(), service.to_owned(), None)];
        assert_eq!(said(&fixture, &format!("by {service}")).await, expected);
    }
    keeping.abort();
}

#[tokio::test]
async fn what_is_refused_over_http_says_why() {
    let fixture = fixture().await;
    let token = fixture.token("orders");
    let (json, packed) = (("content-type", "application/json"), ("content-encoding", "gzip"));
    for (token, headers, body, status, code, detail) in [
        ("nobody", &[json][..], b"{}".to_vec(), 401, "MDG-ADM-002", "send `authorization"),
        (
            &*token,
            &[json],
            b"{\"resourceSpans\": 1}".to_vec(),
            400,
            "MDG-OTLP-001",
            "at resourceSpans: invalid type",
        ),
        (
            &token,
            &[("content-type", "application/x-protobuf")],
            b"\x0a\x05abc".to_vec(),
            400,
            "MDG-OTLP-001",
            "as protobuf",
        ),
        (&token, &[json, packed], b"{}".to_vec(), 400, "MDG-OTLP-001", "gzip"),
        (&token, &[json, packed], gzip(&vec![b' '; LARGEST + 1]), 413, "MDG-OTLP-002", "8388608 bytes"),
        (&token, &[json], vec![b' '; LARGEST + 1], 413, "MDG-OTLP-002", "8388608 bytes"),
        (&token, &[("content-type", "text/plain")], b"{}".to_vec(), 415, "MDG-OTLP-004", "\"text/plain\""),
        (&token, &[json, ("content-encoding", "br")], b"{}".to_vec(), 415, "MDG-OTLP-004", "\"br\""),
    ] {
        let answer = post(&fixture, "/v1/traces", token, headers, body).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().get("accept-encoding").is_some(), status == 415);
        let problem: Problem = serde_json::from_slice(&bytes(answer).await).unwrap();
        assert_eq!(problem.code, code);
        assert!(problem.detail.as_ref().unwrap().contains(detail), "{problem:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_or_too_much_at_once_is_sent_again() {
    let fixture = fixture().await;
    let token = fixture.token("orders");
    let media = [("content-type", "application/json")];
    let slow = || {
        Body::new(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, std::convert::Infallible>,
        >()))
    };
    let stalled: Vec<_> =
        (0..super::AT_ONCE).map(|_| post(&fixture, "/v1/traces", &token, &media, slow())).collect();
    let stalled = futures_util::future::join_all(stalled);
    let late = post(&fixture, "/v1/traces", &token, &media, "{}");
    let (stalled, late) = tokio::join!(stalled, late);
    assert!(stalled.iter().all(|answer| answer.status() == StatusCode::REQUEST_TIMEOUT));
    assert_eq!(
        (late.status(), &late.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    let again = post(&fixture, "/v1/traces", &token, &media, "{}").await;
    assert_eq!(again.status(), StatusCode::OK, "those before left their place");
}

#[tokio::test]
async fn a_call_over_grpc_is_answered_with_a_message_and_a_status() {
    let fixture = fixture().await;
    let token = fixture.token("orders");
    let grpc = ("content-type", "application/grpc");
    for (trace, headers, body) in [
        (1, &[grpc][..], framed(0, &protobuf(export(1, "orders")))),
        (2, &[grpc, ("grpc-encoding", "gzip")], framed(1, &gzip(&protobuf(export(2, "orders"))))),
        (3, &[grpc, ("grpc-encoding", "gzip")], framed(0, &protobuf(export(3, "orders")))),
    ] {
        let answer = post(&fixture, GRPC, &token, headers, body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let collected = answer.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        let message = collected.to_bytes();
        assert_eq!(
            (message[0], message[1..5].to_vec()),
            (0, (message.len() as u32 - 5).to_be_bytes().to_vec())
        );
        let answer = ExportTraceServiceResponse::decode(&message[5..]).unwrap();
        assert_eq!(answer.partial_success.unwrap().rejected_spans, 1);
        assert!(kept(&fixture, trace).await.is_some(), "{trace}");
    }
}

#[tokio::test]
async fn what_is_refused_over_grpc_says_why() {
    let fixture = fixture().await;
    let token = fixture.token("orders");
    let (grpc, gzipped) = (("content-type", "application/grpc"), ("grpc-encoding", "gzip"));
    for (token, headers, body, status, said) in [
        ("nobody", &[grpc][..], framed(0, b""), "16", "MDG-ADM-002: send `authorization"),
        (&*token, &[grpc], framed(0, b"\x0a\x05abc"), "3", "MDG-OTLP-001: failed to read it as protobuf"),
        (&token, &[grpc], b"\0\0".to_vec(), "3", "MDG-OTLP-001: there is no message"),
        (&token, &[grpc], framed(7, b""), "3", "MDG-OTLP-001: what stands before"),
        (&token, &[grpc], framed(0, b"")[..4].to_vec(), "3", "MDG-OTLP-001: there is no message"),
        (
            &token,
            &[grpc],
            [framed(0, b""), framed(0, b"")].concat(),
            "3",
            "MDG-OTLP-001: the message is not as long",
        ),
        (&token, &[grpc], framed(1, b""), "3", "MDG-OTLP-001: the message says that it is packed"),
        (&token, &[grpc, gzipped], framed(1, b"no"), "3", "MDG-OTLP-001: failed to unpack it"),
        (&token, &[grpc, gzipped], framed(1, &gzip(&vec![0; LARGEST + 1])), "8", "MDG-OTLP-002: "),
        (&token, &[grpc], framed(0, &vec![0; LARGEST]), "8", "MDG-OTLP-002: "),
        (
            &token,
            &[grpc, ("grpc-encoding", "zstd")],
            framed(1, b""),
            "12",
            "MDG-OTLP-004: the message is packed as \"zstd\"",
        ),
    ] {
        let answer = post(&fixture, GRPC, token, headers, body).await;
        let head = answer.headers();
        assert_eq!(
            (answer.status(), &head["content-type"]),
            (StatusCode::OK, &"application/grpc".parse().unwrap())
        );
        let message = head["grpc-message"].to_str().unwrap();
        assert_eq!(head["grpc-status"], status, "{message}");
        assert!(message.starts_with(said), "{message}");
    }
}
