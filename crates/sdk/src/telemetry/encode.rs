//! Spans as messages of OpenTelemetry's protocol.

use std::{borrow::Cow, sync::Arc};

use madang_wire::otlp::{
    Message, attribute,
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{self as otlp, ResourceSpans, ScopeSpans, Status, span},
};

use super::{
    queue::Group,
    source::Source,
    span::{Kind, Span, Value},
};

/// The request that tells of these spans. Those of each service are together.
pub(super) fn traces(groups: Vec<Group>, resource: &[(String, String)]) -> Vec<u8> {
    let mut resource_spans: Vec<(Arc<Source>, Vec<otlp::Span>)> = Vec::new();
    for Group { source, trace_id, flags, spans } in groups {
        let of_source = match resource_spans.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &source)) {
            Some((_, spans)) => spans,
            None => &mut resource_spans.push_mut((source, Vec::new())).1,
        };
        of_source.extend(spans.into_iter().map(|span| message(span, trace_id, flags)));
    }
    let of_source = |(source, spans): (Arc<Source>, _)| ResourceSpans {
        resource: Some(self::resource(source.name(), resource)),
        scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest { resource_spans: resource_spans.into_iter().map(of_source).collect() }
        .encode_to_vec()
}

/// What is said of a service of this process.
pub(super) fn resource(service: &str, resource: &[(String, String)]) -> Resource {
    let mut attributes = vec![
        attribute("service.name", service),
        attribute("telemetry.sdk.name", "madang"),
        attribute("telemetry.sdk.language", "rust"),
        attribute("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let own = |key: &str| key == "service.name" || key.starts_with("telemetry.sdk.");
    attributes.extend(resource.iter().filter(|(key, _)| !own(key)).map(|(key, value)| attribute(key, value)));
    Resource { attributes, ..Resource::default() }
}

/// Who says it.
pub(super) fn scope() -> InstrumentationScope {
    let (name, version) = ("madang".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}

fn message(span: Span, trace_id: u128, flags: u8) -> otlp::Span {
    let end = span.start.saturating_add(span.duration.as_nanos() as u64);
    let kind = match span.kind {
        Kind::Server => span::SpanKind::Server,
        Kind::Internal => span::SpanKind::Internal,
        Kind::Client => span::SpanKind::Client,
    };
    let event = |(kind, message): (Cow<'static, str>, String)| span::Event {
        time_unix_nano: end,
        name: "exception".to_owned(),
        attributes: vec![
            key_value("exception.type", Value::Text(kind)),
            key_value("exception.message", message.into()),
        ],
        dropped_attributes_count: 0,
    };
    otlp::Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: flags.into(),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.start,
        end_time_unix_nano: end,
        attributes: span.attributes.into_iter().map(|(key, value)| key_value(key, value)).collect(),
        events: span.exception.into_iter().map(event).collect(),
        status: span.failed.map(|message| Status { message: message.into_owned(), code: ERROR }),
        ..otlp::Span::default()
    }
}

const ERROR: i32 = otlp::status::StatusCode::Error as i32;

fn key_value(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.into_owned()),
        Value::Shared(text) => any_value::Value::StringValue(text.as_ref().to_owned()),
        Value::Integer(number) => any_value::Value::IntValue(number),
        Value::Float(number) => any_value::Value::DoubleValue(number),
        Value::Bool(is) => any_value::Value::BoolValue(is),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
