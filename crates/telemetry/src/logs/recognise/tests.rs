//! One line of each kind, and what is known of it.

use expect_test::{Expect, expect};

use super::of;

fn check(line: &str, expected: Expect) {
    let found = of(line);
    let mut said = Vec::new();
    said.extend(found.at.map(|at| format!("at {}.{:03}", at / 1_000_000 % 86_400, at / 1000 % 1000)));
    said.extend(found.level.map(|level| level.to_string()));
    said.extend(found.trace_id.map(|id| format!("trace {}", &id.to_string()[28..])));
    said.extend(found.span_id.map(|id| format!("span {}", &id.to_string()[12..])));
    said.extend(found.message.map(|message| format!("{message:?}")));
    said.extend((!found.fields.is_empty()).then(|| serde_json::to_string(&found.fields).unwrap()));
    expected.assert_eq(&said.join(" | "));
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[test]
fn lines_of_structured_loggers() {
    // The SDK.
    check(
        &format!(
            r#"{{"timestamp":"2026-01-01T00:00:01.5Z","level":"INFO","message":"placed","target":"a","order":7,"trace_id":"{TRACE}","span_id":"{SPAN}"}}"#
        ),
        expect![[r#"at 1.500 | info | trace 319c | span 3331 | "placed" | {"order":7,"target":"a"}"#]],
    );
    // tracing-subscriber's json().
    check(
        &format!(
            r#"{{"timestamp":"2026-01-01T00:00:02Z","level":"WARN","fields":{{"message":"slow","ms":12}},"target":"x","span":{{"trace_id":"{TRACE}","name":"request"}},"spans":[]}}"#
        ),
        expect![[
            r#"at 2.000 | warn | trace 319c | "slow" | {"ms":12,"span":{"name":"request","trace_id":"0af7651916cd43dd8448eb211c80319c"},"spans":[],"target":"x"}"#
        ]],
    );
    // pino, bunyan.
    check(
        &format!(
            r#"{{"level":50,"time":1767225603123,"pid":3,"hostname":"h","traceId":"{TRACE}","spanId":"{SPAN}","msg":"boom","err":{{"type":"Error"}}}}"#
        ),
        expect![[
            r#"at 3.123 | error | trace 319c | span 3331 | "boom" | {"err":{"type":"Error"},"hostname":"h","pid":3}"#
        ]],
    );
    // zap.
    check(
        r#"{"level":"dpanic","ts":1767225604.25,"caller":"main.go:3","msg":"no"}"#,
        expect![[r#"at 4.250 | fatal | "no" | {"caller":"main.go:3"}"#]],
    );
    // slog.
    check(
        r#"{"time":"2026-01-01T09:00:05+09:00","level":"DEBUG","msg":"주문","n":1}"#,
        expect![[r#"at 5.000 | debug | "주문" | {"n":1}"#]],
    );
    // Python: python-json-logger with OpenTelemetry's fields, and a number alone.
    check(
        &format!(
            r#"{{"asctime":"2026-01-01T00:00:06Z","levelname":"WARNING","message":"late","otelTraceID":"{TRACE}","otelSpanID":"{SPAN}"}}"#
        ),
        expect![[r#"at 6.000 | warn | trace 319c | span 3331 | "late""#]],
    );
    check(r#"{"levelno":40,"event":"no"}"#, expect![[r#"error | "no""#]]);
    // log4j's ECS layout, also with nested objects.
    check(
        &format!(
            r#"{{"@timestamp":"2026-01-01T00:00:07Z","log.level":"FATAL","message":"down","trace.id":"{TRACE}","span.id":"{SPAN}"}}"#
        ),
        expect![[r#"at 7.000 | fatal | trace 319c | span 3331 | "down""#]],
    );
    check(
        &format!(
            r#"{{"@timestamp":"2026-01-01T00:00:07Z","log":{{"level":"warn"}},"message":"m","trace":{{"id":"{TRACE}"}}}}"#
        ),
        expect![[
            r#"at 7.000 | warn | trace 319c | "m" | {"log":{"level":"warn"},"trace":{"id":"0af7651916cd43dd8448eb211c80319c"}}"#
        ]],
    );
    // Serilog, Google's severity, OpenTelemetry's number.
    check(
        r#"{"@t":"2026-01-01T00:00:08Z","@l":"Error","@mt":"failed {Id}","Id":3}"#,
        expect![[r#"at 8.000 | error | "failed {Id}" | {"Id":3}"#]],
    );
    check(r#"{"severity":"CRITICAL","message":"m"}"#, expect![[r#"fatal | "m""#]]);
    check(r#"{"severityNumber":13,"body":{"stringValue":"m"}}"#, expect![[r#"warn | "m""#]]);
    // Datadog's id is another's, and an id of zeros is none.
    check(
        r#"{"msg":"m","dd.trace_id":"123","trace_id":"00000000000000000000000000000000"}"#,
        expect![[r#""m" | {"dd.trace_id":"123","trace_id":"00000000000000000000000000000000"}"#]],
    );
    check(
        &format!(r#"{{"msg":"m","traceparent":"00-{TRACE}-{SPAN}-01"}}"#),
        expect![[r#"trace 319c | span 3331 | "m""#]],
    );
    // No message, no level, nonsense in their place, no JSON.
    check(r#"{"order":7}"#, expect![[r#"{"order":7}"#]]);
    check(
        r#"{"level":"loud","time":"yesterday","msg":["a"]}"#,
        expect![[r#"{"level":"loud","msg":["a"],"time":"yesterday"}"#]],
    );
    check(r#"{"time":1500,"msg":"no clock"}"#, expect![[r#""no clock" | {"time":1500}"#]]);
    check(r#"{"level":"error""#, expect![""]);
}

#[test]
fn plain_lines_keep_all_they_say() {
    check("listening on 3001", expect![""]);
    check("2026-01-01T00:00:01Z  INFO users: started", expect!["at 1.000 | info"]);
    check("[2026-01-01T00:00:01.250Z] WARN slow", expect!["at 1.250 | warn"]);
    check("ERROR:root:no database", expect!["error"]);
    check("[error] 12#12: connect() failed", expect!["error"]);
    check("warning: unused", expect!["warn"]);
    check("\x1b[2m2026-01-01T00:00:02Z\x1b[0m \x1b[31mERROR\x1b[0m boom", expect!["at 2.000 | error"]);
    check("<notice> mixed", expect!["info"]);
    // Not every such word is a level.
    check("no error so far, and no warning", expect![""]);
    check("GET /ERROR/log-INFO HTTP/1.1", expect![""]);
    check("TypeError: x is not a function", expect!["error"]);
    check("java.io.IOException: refused", expect!["error"]);
    check("Errors: none", expect![""]);
    // logfmt.
    check(
        &format!(r#"time="2026-01-01T00:00:03Z" level=warning msg="late" trace_id={TRACE} span_id={SPAN}"#),
        expect!["warn | trace 319c | span 3331"],
    );
    check(&format!("INFO [orders,{TRACE}] placed traceId: {TRACE}"), expect!["info | trace 319c"]);
    check(&format!("got traceparent: 00-{TRACE}-{SPAN}-01"), expect!["trace 319c | span 3331"]);
    // Not clearly one.
    check(&format!("digest {TRACE}, dd.trace_id={TRACE}, trace_id=123"), expect![""]);
    check(&format!("trace_id={TRACE}00"), expect![""]);
}

#[test]
fn a_local_time_is_this_machines() {
    let local = jiff::civil::date(2026, 1, 1).at(9, 0, 1, 123_000_000);
    let at = local.to_zoned(jiff::tz::TimeZone::system()).unwrap().timestamp().as_microsecond();
    assert_eq!(of("2026-01-01 09:00:01,123 INFO started").at, Some(at as u64));
    assert_eq!(of("[2026/01/01 09:00:01.123] started").at, Some(at as u64));
}
