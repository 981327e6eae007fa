//! What hops saw of requests, as spans of OTLP: a resource for each service that called, and one for the gateway.

use std::{collections::BTreeMap, sync::Arc};

use madang_wire::{
    RequestRecord,
    otlp::{
        attribute,
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span as Sent, Status, span::SpanKind, status::StatusCode},
    },
};
use serde_json::Value;

use crate::traces::Span;

/// The part of the program that tells of them.
pub(super) const SCOPE: &str = "madang";

pub(super) fn spans(seen: &[RequestRecord]) -> Vec<ResourceSpans> {
    let mut services: BTreeMap<Arc<str>, Vec<Sent>> = BTreeMap::new();
    for record in seen {
        let span = Span::from(record.clone());
        services.entry(span.service.clone()).or_default().push(sent(span));
    }
    let of_service = |(service, spans): (Arc<str>, Vec<Sent>)| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", &service)],
            ..Default::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: SCOPE.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            }),
            spans,
            ..Default::default()
        }],
        ..Default::default()
    };
    services.into_iter().map(of_service).collect()
}

fn sent(span: Span) -> Sent {
    let kind = if span.kind == "server" { SpanKind::Server } else { SpanKind::Client };
    let code = if span.error { StatusCode::Error } else { StatusCode::Unset };
    let mut attributes: Vec<KeyValue> = span.attributes.shown().into_iter().filter_map(known).collect();
    attributes.extend(span.peer.as_deref().map(|peer| attribute("peer.service", peer)));
    Sent {
        trace_id: span.trace.0.to_be_bytes().to_vec(),
        span_id: span.id.0.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.0.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: span.start.saturating_mul(1000),
        end_time_unix_nano: span.start.saturating_add(span.duration).saturating_mul(1000),
        attributes,
        status: Some(Status { code: code.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// An attribute under the name that back ends look for. What a hop knows of an instance is that of whoever answered, and
/// would be taken for that of the service that it is told of.
fn known((key, value): (String, Value)) -> Option<KeyValue> {
    let key = if key == "service.instance.id" { "madang.instance".to_owned() } else { key };
    let value = match value {
        Value::String(text) => any_value::Value::StringValue(text),
        Value::Number(number) => any_value::Value::IntValue(number.as_i64()?),
        Value::Bool(is) => any_value::Value::BoolValue(is),
        _ => return None,
    };
    Some(KeyValue { key, value: Some(AnyValue { value: Some(value) }) })
}
