//! The keys of `[telemetry]`.

use super::{Format, LISTEN, Shape, TIMEOUT, Table, key, required};

pub(in crate::manifest) static TELEMETRY: Table = Table {
    noun: "[telemetry]",
    schema: "telemetry",
    groups: &[&[
        key("keep", TIMEOUT, "How long traces, log lines and events are kept at most. Default 7d."),
        key(
            "size",
            Shape::Text(Format::Size),
            "The size on disk that what is kept never exceeds: before that the oldest is deleted. Default 512MiB.",
        ),
        key(
            "spans_per_second",
            Shape::Whole(0, 1_000_000),
            "How many spans a second are kept of those that neither failed nor were slow. Default 1000.",
        ),
        key("slow", TIMEOUT, "From which duration on a request is slow, and kept before others. Default 1s."),
        key(
            "log_lines_per_second",
            Shape::Whole(1, 1_000_000),
            "How many log lines a second are kept of each instance, and as many again of its warnings and errors. Default 1000.",
        ),
        key(
            "metrics",
            LISTEN,
            "Where Prometheus reads /metrics, without a token: a port on 127.0.0.1, or an address with a port. Default: nowhere but at the admin socket.",
        ),
        key(
            "forward",
            Shape::Table(&FORWARD),
            "A back end that gets all telemetry by OTLP, beside what is kept here.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static FORWARD: Table = Table {
    noun: "[telemetry.forward]",
    schema: "forward",
    groups: &[&[
        required(
            "url",
            Shape::Text(Format::BaseUrl),
            "Where it takes OTLP, as `http://collector.example:4318`; over HTTP `/v1/traces` and its like follow.",
        ),
        key(
            "protocol",
            Shape::Choice(&["http/protobuf", "grpc"]),
            "How it is spoken to. Default http/protobuf.",
        ),
        key(
            "headers",
            Shape::Map(Format::Header, &Shape::Text(Format::HeaderValue)),
            "What each export carries, as `authorization = \"Bearer ${TOKEN}\"`; the values are shown nowhere.",
        ),
    ]],
    forms: &[],
};
