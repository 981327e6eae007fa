//! Spans as messages of OpenTelemetry's protocol, written without building them first: each request has some.

use std::sync::Arc;

use madang_wire::otlp::{
    Message, attribute, common::v1::InstrumentationScope, resource::v1::Resource, trace::v1::span::SpanKind,
    trace::v1::status::StatusCode,
};

use super::{
    protobuf::Writer,
    queue::Group,
    source::Source,
    span::{Kind, Span, Value},
};

/// About how many bytes a span takes.
const SPAN: usize = 384;

/// The request that tells of these spans. Those of each service are together.
pub(super) fn traces(groups: &[Group], resource: &[(String, String)]) -> Vec<u8> {
    let mut sources: Vec<&Arc<Source>> = Vec::new();
    for Group { source, .. } in groups {
        if !sources.iter().any(|known| Arc::ptr_eq(known, source)) {
            sources.push(source);
        }
    }
    let spans: usize = groups.iter().map(|group| group.spans.len()).sum();
    let mut request = Writer(Vec::with_capacity(spans * SPAN));
    for source in sources {
        request.message(1, |of_resource| {
            of_resource.bytes(1, &self::resource(source.name(), resource).encode_to_vec());
            of_resource.message(2, |of_scope| {
                of_scope.bytes(1, &scope().encode_to_vec());
                for group in groups.iter().filter(|group| Arc::ptr_eq(&group.source, source)) {
                    group.spans.iter().for_each(|span| of_scope.message(2, |to| write(to, span, group)));
                }
            });
        });
    }
    request.0
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

/// Writes a `Span` of `trace.proto`: the numbers are those of its fields.
fn write(to: &mut Writer, span: &Span, group: &Group) {
    let end = span.start.saturating_add(span.duration.as_nanos() as u64);
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Internal => SpanKind::Internal,
        Kind::Client => SpanKind::Client,
    };
    to.bytes(1, &group.trace_id.to_be_bytes());
    to.bytes(2, &span.id.to_be_bytes());
    if let Some(parent) = span.parent {
        to.bytes(4, &parent.to_be_bytes());
    }
    to.bytes(5, span.name.as_bytes());
    to.varint(6, kind as u64);
    to.fixed_64(7, span.start);
    to.fixed_64(8, end);
    for (key, value) in &span.attributes {
        to.message(9, |to| key_value(to, key, value));
    }
    if let Some((kind, message)) = &span.exception {
        to.message(11, |to| {
            to.fixed_64(1, end);
            to.bytes(2, b"exception");
            to.message(3, |to| text(to, "exception.type", kind));
            to.message(3, |to| text(to, "exception.message", message));
        });
    }
    if let Some(failed) = &span.failed {
        to.message(15, |to| {
            to.bytes(2, failed.as_bytes());
            to.varint(3, StatusCode::Error as u64);
        });
    }
    to.fixed_32(16, group.flags.into());
}

/// Writes a `KeyValue` of `common.proto`.
fn key_value(to: &mut Writer, key: &str, value: &Value) {
    match value {
        Value::Text(value) => text(to, key, value),
        Value::Shared(value) => text(to, key, value),
        Value::Integer(number) => any(to, key, |to| to.always(3, number.cast_unsigned())),
        Value::Float(number) => any(to, key, |to| to.fixed_64(4, number.to_bits())),
        Value::Bool(is) => any(to, key, |to| to.always(2, u64::from(*is))),
    }
}

fn text(to: &mut Writer, key: &str, value: &str) {
    any(to, key, |to| to.bytes(1, value.as_bytes()));
}

fn any(to: &mut Writer, key: &str, value: impl FnOnce(&mut Writer)) {
    to.bytes(1, key.as_bytes());
    to.message(2, value);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use madang_wire::otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value::Value as Any},
        trace::v1::{self as otlp, Status, span::Event},
    };

    use super::*;

    fn key_value(key: &str, value: Any) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }

    #[test]
    fn what_is_written_is_the_message_that_others_read() {
        let long = "x".repeat(300);
        let attributes: Vec<(&'static str, Value)> = vec![
            ("text", "".into()),
            ("shared", Arc::<str>::from(&*long).into()),
            ("integer", (-7).into()),
            ("zero", 0.into()),
            ("float", 0.5.into()),
            ("bool", false.into()),
        ];
        let plain = Span {
            id: 2,
            parent: None,
            name: "GET /".into(),
            kind: Kind::Server,
            start: 5,
            duration: Duration::from_nanos(10),
            failed: None,
            attributes,
            exception: None,
        };
        let failed = Span {
            id: 3,
            parent: Some(2),
            kind: Kind::Client,
            attributes: Vec::new(),
            failed: Some("no".into()),
            exception: Some(("panic".into(), "out of luck".to_owned())),
            ..plain.clone()
        };
        let (users, orders) = (Source::new("users", None, None), Source::new("orders", None, None));
        let group =
            |source: &Arc<Source>, spans| Group { source: source.clone(), trace_id: 9, flags: 1, spans };
        let groups =
            [group(&users, vec![plain.clone()]), group(&orders, vec![failed]), group(&users, vec![plain])];
        let told = traces(&groups, &[("host.name".to_owned(), "here".to_owned())]);
        let told = ExportTraceServiceRequest::decode(&*told).unwrap();

        let [of_users, of_orders] = &told.resource_spans[..] else { panic!("{told:?}") };
        assert_eq!(
            of_users.resource.as_ref(),
            Some(&resource("users", &[("host.name".into(), "here".into())]))
        );
        let [of_scope] = &of_users.scope_spans[..] else { panic!("{of_users:?}") };
        assert_eq!(of_scope.scope.as_ref(), Some(&scope()));
        let expected = otlp::Span {
            trace_id: 9_u128.to_be_bytes().to_vec(),
            span_id: 2_u64.to_be_bytes().to_vec(),
            flags: 1,
            name: "GET /".to_owned(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: 5,
            end_time_unix_nano: 15,
            attributes: vec![
                key_value("text", Any::StringValue(String::new())),
                key_value("shared", Any::StringValue(long)),
                key_value("integer", Any::IntValue(-7)),
                key_value("zero", Any::IntValue(0)),
                key_value("float", Any::DoubleValue(0.5)),
                key_value("bool", Any::BoolValue(false)),
            ],
            ..otlp::Span::default()
        };
        assert_eq!(of_scope.spans, [expected.clone(), expected.clone()]);
        let failed = otlp::Span {
            span_id: 3_u64.to_be_bytes().to_vec(),
            parent_span_id: 2_u64.to_be_bytes().to_vec(),
            kind: SpanKind::Client.into(),
            attributes: Vec::new(),
            events: vec![Event {
                time_unix_nano: 15,
                name: "exception".to_owned(),
                attributes: vec![
                    key_value("exception.type", Any::StringValue("panic".to_owned())),
                    key_value("exception.message", Any::StringValue("out of luck".to_owned())),
                ],
                dropped_attributes_count: 0,
            }],
            status: Some(Status { message: "no".to_owned(), code: StatusCode::Error.into() }),
            ..expected
        };
        assert_eq!(of_orders.scope_spans[0].spans, [failed]);
    }
}
