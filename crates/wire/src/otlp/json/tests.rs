//! JSON and protobuf say the same.

use prost::Message;
use serde_json::json;

use crate::otlp::{
    attribute,
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::{exemplar, metric::Data, number_data_point},
    to_json,
    trace::v1::Span,
};

/// The example of the protocol's own repository (`examples/trace.json`), with what else a span may have.
fn trace() -> serde_json::Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "my.service" } }] },
        "scopeSpans": [{
            "scope": { "name": "my.library", "version": "1.0.0",
                "attributes": [{ "key": "my.scope.attribute", "value": { "stringValue": "some scope attribute" } }] },
            "spans": [{
                "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "EEE19B7EC3C1B173", "name": "I'm a server span", "kind": 2,
                "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000u64,
                "attributes": [{ "key": "my.span.attr", "value": { "stringValue": "some value" } }],
                "events": [{ "timeUnixNano": "1544712660500000000", "name": "exception" }],
                "links": [{ "traceId": "5B8EFFF798038103D269B633813FC60D", "spanId": "EEE19B7EC3C1B175" }],
                "status": { "code": 2, "message": "no" }, "traceState": null, "droppedEventsCount": 3,
                "ofALaterVersion": { "is": ["ignored"] }
            }]
        }]
    }] })
}

#[test]
fn a_trace_is_read_of_both_alike() {
    let read: ExportTraceServiceRequest = serde_json::from_value(trace()).unwrap();
    let span = &read.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id, 0x5b8efff798038103d269b633813fc60cu128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xeee19b7ec3c1b173u64.to_be_bytes());
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (1_544_712_660_000_000_000, 1_544_712_661_000_000_000)
    );
    assert_eq!((span.kind, span.dropped_events_count, span.status.as_ref().unwrap().code), (2, 3, 2));
    assert_eq!((span.events[0].name.as_str(), span.links[0].span_id.len()), ("exception", 8));
    assert_eq!(span.attributes, [attribute("my.span.attr", "some value")]);
    let protobuf = read.encode_to_vec();
    assert_eq!(ExportTraceServiceRequest::decode(&*protobuf).unwrap(), read);
}

#[test]
fn logs_are_read() {
    let read: ExportLogsServiceRequest = serde_json::from_value(json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{
        "timeUnixNano": "7", "observedTimeUnixNano": 8, "severityNumber": 17, "severityText": "ERROR",
        "body": { "kvlistValue": { "values": [{ "key": "n", "value": { "arrayValue": { "values": [{ "intValue": "-1" }] } } }] } },
        "traceId": "", "flags": 1, "eventName": "it"
    }] }] }] }))
    .unwrap();
    let LogRecord { time_unix_nano, severity_number, body, trace_id, event_name, .. } =
        read.resource_logs[0].scope_logs[0].log_records[0].clone();
    assert_eq!((time_unix_nano, severity_number, trace_id, event_name.as_str()), (7, 17, vec![], "it"));
    assert_eq!(to_json(body), json!({ "n": [-1] }));
}

#[test]
fn metrics_of_every_kind_are_read() {
    let exemplar =
        json!({ "asDouble": 0.5, "timeUnixNano": "3", "traceId": "5B8EFFF798038103D269B633813FC60C" });
    let read: ExportMetricsServiceRequest = serde_json::from_value(json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [
        { "name": "a", "gauge": { "dataPoints": [{ "asDouble": "NaN", "timeUnixNano": "1" }, { "asInt": "-9223372036854775808" }, {}] } },
        { "name": "b", "unit": "1", "sum": { "aggregationTemporality": 2, "isMonotonic": true,
            "dataPoints": [{ "asInt": 3, "exemplars": [exemplar] }] } },
        { "name": "c", "histogram": { "aggregationTemporality": 1,
            "dataPoints": [{ "count": "2", "sum": 4.5, "bucketCounts": ["1", 1], "explicitBounds": [0.5, "Infinity"], "min": 0 }] } },
        { "name": "d", "exponentialHistogram": { "dataPoints": [{ "scale": 3, "zeroCount": "1",
            "positive": { "offset": -2, "bucketCounts": ["18446744073709551615"] } }] } },
        { "name": "e", "summary": { "dataPoints": [{ "count": 1, "quantileValues": [{ "quantile": 0.5, "value": 2 }] }] } },
        { "name": "f" }
    ] }] }] }))
    .unwrap();
    let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
    let [a, b, c, d, e, f] =
        metrics.iter().map(|metric| metric.data.clone()).collect::<Vec<_>>().try_into().unwrap();
    let Some(Data::Gauge(a)) = a else { panic!("{a:?}") };
    let Some(number_data_point::Value::AsDouble(none)) = a.data_points[0].value else { panic!("{a:?}") };
    assert!(none.is_nan());
    assert_eq!(a.data_points[1].value, Some(number_data_point::Value::AsInt(i64::MIN)));
    assert_eq!(a.data_points[2].value, None);
    let Some(Data::Sum(b)) = b else { panic!("{b:?}") };
    assert!(b.is_monotonic);
    assert_eq!(b.data_points[0].exemplars[0].value, Some(exemplar::Value::AsDouble(0.5)));
    assert_eq!(b.data_points[0].exemplars[0].trace_id.len(), 16);
    let Some(Data::Histogram(c)) = c else { panic!("{c:?}") };
    let c = &c.data_points[0];
    assert_eq!((&*c.bucket_counts, &*c.explicit_bounds), (&[1, 1][..], &[0.5, f64::INFINITY][..]));
    assert_eq!((c.count, c.sum, c.min, c.max), (2, Some(4.5), Some(0.0), None));
    let Some(Data::ExponentialHistogram(d)) = d else { panic!("{d:?}") };
    assert_eq!(d.data_points[0].positive.as_ref().unwrap().bucket_counts, [u64::MAX]);
    let Some(Data::Summary(e)) = e else { panic!("{e:?}") };
    assert_eq!((e.data_points[0].quantile_values[0].value, f), (2.0, None));
}

#[test]
fn bytes_are_read_of_base_64() {
    for (text, bytes) in [
        ("", &b""[..]),
        ("AQ==", &[1]),
        ("AQI", &[1, 2]),
        ("AQID", &[1, 2, 3]),
        ("-_+/", &[0xfb, 0xff, 0xbf]),
    ] {
        let value: AnyValue = serde_json::from_value(json!({ "bytesValue": text })).unwrap();
        assert_eq!(value.value, Some(Value::BytesValue(bytes.to_vec())), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (span, said) in [
        (
            json!({ "traceId": "5b8" }),
            "invalid value: string \"5b8\", expected an even number of hexadecimal digits",
        ),
        (
            json!({ "spanId": "zz" }),
            "invalid value: string \"zz\", expected an even number of hexadecimal digits",
        ),
        (json!({ "kind": "SPAN_KIND_SERVER" }), "invalid type: string \"SPAN_KIND_SERVER\", expected i32"),
        (
            json!({ "startTimeUnixNano": -1 }),
            "invalid value: integer `-1`, expected an integer from 0 to 2^64-1, as a number or as text",
        ),
        (
            json!({ "attributes": [{ "key": "a", "value": { "intValue": "1.5" } }] }),
            "invalid value: string \"1.5\", expected an integer from -2^63 to 2^63-1, as a number or as text",
        ),
        (
            json!({ "attributes": [{ "key": "a", "value": { "bytesValue": "A" } }] }),
            "invalid value: string \"A\", expected bytes in base 64",
        ),
    ] {
        assert_eq!(serde_json::from_value::<Span>(span).unwrap_err().to_string(), said);
    }
}

#[test]
fn what_json_cannot_say_is_text() {
    let value = |value| to_json(Some(AnyValue { value: Some(value) }));
    assert_eq!(value(Value::DoubleValue(f64::NEG_INFINITY)), "-inf");
    assert_eq!(value(Value::BytesValue(vec![1, 0xff])), "01ff");
    assert_eq!(to_json(None), serde_json::Value::Null);
}
