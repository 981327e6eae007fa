//! One trace, drawn: each span below the one that caused it, with a bar for its time.

use madang_wire::trace::{SpanEvent, SpanView, TraceView};
use serde_json::Value;

use crate::{
    style::{Paint, Style},
    table::{Cell, Table},
    units,
};

/// How wide the bar of the whole trace is, in characters.
const WIDTH: u64 = 30;

/// How deep spans are indented at most; what is deeper stands as deep as that.
const DEEPEST: usize = 20;

/// The trace as text, a line for each span.
pub(super) fn draw(view: &TraceView, style: Style) -> String {
    let (start, end) = view.bounds();
    let whole = end - start;
    let mut table = Table::new(&["SPAN", "FROM", "TO", "DURATION", "TIME", "DETAILS"]);
    for (depth, span) in view.in_order() {
        let name = format!("{}{}", "  ".repeat(depth.min(DEEPEST)), span.name);
        let paint = if span.error { Paint::Bad } else { Paint::Good };
        table.row([
            Cell::new(name).paint(if span.error { Paint::Bad } else { Paint::Strong }),
            Cell::new(&span.service),
            Cell::maybe(span.peer.as_deref()),
            Cell::new(units::precise(span.duration_us)),
            Cell::new(bar(span.start_us - start, span.duration_us, whole)).paint(paint),
            Cell::new(details(span)),
        ]);
        for event in span.details.iter().flat_map(|details| &details.events) {
            let at = event.at_us.saturating_sub(start);
            let name = format!("{}· {}", "  ".repeat((depth + 1).min(DEEPEST)), event.name);
            let bad = event.name == EXCEPTION;
            table.row([
                Cell::new(name).paint(if bad { Paint::Bad } else { Paint::Faint }),
                Cell::new(&span.service),
                Cell::new(""),
                Cell::new(format!("+{}", units::precise(at))),
                Cell::new(mark(at, whole)).paint(Paint::Faint),
                Cell::new(happened(event)),
            ]);
        }
    }
    let (spans, cut) = (view.spans.len(), if view.cut { " of more" } else { "" });
    format!(
        "trace {}: {spans}{cut} {}, {}\n{}",
        view.trace_id,
        if spans == 1 { "span" } else { "spans" },
        units::precise(whole),
        table.render(style)
    )
}

/// Where in the trace the span lies, at least one character wide.
fn bar(from: u64, duration: u64, whole: u64) -> String {
    let whole = whole.max(1);
    let place = |time: u64| (u128::from(time) * u128::from(WIDTH) / u128::from(whole)) as u64;
    let before = place(from).min(WIDTH - 1);
    let length = place(from.saturating_add(duration)).clamp(before + 1, WIDTH) - before;
    format!("{}{}", " ".repeat(before as usize), "█".repeat(length as usize))
}

/// What OpenTelemetry calls an exception that was seen during a span.
const EXCEPTION: &str = "exception";

/// Where in the trace something happened.
fn mark(at: u64, whole: u64) -> String {
    let place = u128::from(at) * u128::from(WIDTH) / u128::from(whole.max(1));
    format!("{}╵", " ".repeat((place as u64).min(WIDTH - 1) as usize))
}

/// What an event tells, on one line: of an exception what it is, without the stack.
fn happened(event: &SpanEvent) -> String {
    let text = |name: &str| event.attributes.get(name).and_then(Value::as_str);
    let said = match (text("exception.type"), text("exception.message")) {
        (Some(kind), Some(message)) if !message.is_empty() => format!("{kind}: {message}"),
        (Some(one), _) | (None, Some(one)) => one.to_owned(),
        (None, None) => {
            let pairs = event.attributes.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            });
            pairs.collect::<Vec<_>>().join(" ")
        }
    };
    let mut line = said.lines().next().unwrap_or_default().to_owned();
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST).chain(['…']).collect();
    }
    line
}

/// The longest text of what happened, in characters.
const LONGEST: usize = 120;

/// What is worth knowing where something took long or went wrong.
fn details(span: &SpanView) -> String {
    let number = |name: &str| span.attributes.get(name).and_then(Value::as_u64);
    let text = |name: &str| span.attributes.get(name).and_then(Value::as_str);
    let status = number("http.response.status_code").map(|status| status.to_string());
    let unanswered =
        (span.attributes.contains_key("madang.hop") && status.is_none()).then(|| "no answer".to_owned());
    // What a service tells of itself may say no more than that; not everybody sees colours.
    let failed = (span.error && status.is_none() && unanswered.is_none()).then(|| "failed".to_owned());
    [
        status,
        unanswered,
        failed,
        text("madang.code").map(str::to_owned),
        number("madang.attempts")
            .filter(|attempts| *attempts > 1)
            .map(|attempts| format!("{attempts} attempts")),
        number("madang.parked_us").map(|time| format!("waited {}", units::precise(time))),
        number("madang.upstream_us").map(|time| format!("service took {}", units::precise(time))),
        text("madang.fallback").map(|which| format!("fallback {which}")),
        text("madang.cache").map(|which| format!("cache {which}")),
        text("madang.fault").map(|which| format!("fault {which}")),
        span.details.as_ref().and_then(|details| details.message.clone()),
        text("service.instance.id").map(str::to_owned),
        text("madang.release").map(|release| format!("release {release}")),
        span.instance.clone(),
        span.release.as_ref().map(|release| format!("release {release}")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use madang_wire::{SpanId, TraceId, trace::SpanDetails};
    use serde_json::json;

    use super::*;

    fn span(
        id: u64,
        parent: Option<u64>,
        name: &str,
        from: u64,
        duration: u64,
        attributes: Value,
    ) -> SpanView {
        SpanView {
            span_id: SpanId(id),
            parent_span_id: parent.map(SpanId),
            service: "orders".to_owned(),
            peer: Some("users".to_owned()),
            name: name.to_owned(),
            kind: "client".to_owned(),
            start_us: 1_000_000 + from,
            duration_us: duration,
            error: attributes["madang.code"].is_string(),
            attributes: attributes.as_object().unwrap().clone(),
            instance: None,
            release: None,
            details: None,
            resource: Default::default(),
        }
    }

    fn drawn(spans: Vec<SpanView>) -> String {
        draw(&TraceView { trace_id: TraceId(7), spans, cut: false }, Style::PLAIN)
    }

    #[test]
    fn spans_stand_below_their_cause_with_what_took_the_time() {
        let answered = json!({"http.response.status_code": 200, "madang.hop": "gateway", "madang.attempts": 1,
            "madang.upstream_us": 39_000, "service.instance.id": "orders-a"});
        let failed = json!({"http.response.status_code": 503, "madang.hop": "door", "madang.attempts": 3,
            "madang.parked_us": 2000, "madang.code": "MDG-CALL-001", "madang.fallback": "static"});
        let spans = vec![
            span(1, None, "GET /orders/{id}", 0, 40_000, answered),
            span(2, Some(1), "GET users", 2000, 500, json!({"madang.hop": "door"})),
            span(4, Some(2), "within", 2100, 200, json!({})),
            span(3, Some(1), "GET mail", 10_000, 20_000, failed),
            span(5, Some(99), "of a cause that was not kept", 39_000, 1000, json!({})),
        ];
        expect![[r#"
            trace 00000000000000000000000000000007: 5 spans, 40.0 ms
            SPAN                          FROM    TO     DURATION  TIME                            DETAILS
            GET /orders/{id}              orders  users  40.0 ms   ██████████████████████████████  200, service took 39.0 ms, orders-a
              GET users                   orders  users  0.50 ms    █                              no answer
                within                    orders  users  0.20 ms    █
              GET mail                    orders  users  20.0 ms          ███████████████          503, MDG-CALL-001, 3 attempts, waited 2.00 ms, fallback static
            of a cause that was not kept  orders  users  1.00 ms                                █
        "#]].assert_eq(&drawn(spans));
    }

    #[test]
    fn what_a_service_told_of_its_span_stands_below_it() {
        let event = |at: u64, name: &str, attributes: Value| SpanEvent {
            at_us: 1_000_000 + at,
            name: name.to_owned(),
            attributes: attributes.as_object().unwrap().clone(),
        };
        let details = SpanDetails {
            message: Some("it broke".to_owned()),
            events: vec![
                event(5000, "cache miss", json!({"key": "user-7", "size": 3})),
                event(
                    30_000,
                    "exception",
                    json!({"exception.type": "TypeError",
                    "exception.message": "x is none\n  and more", "exception.stacktrace": "…"}),
                ),
            ],
            ..Default::default()
        };
        let gateway = span(1, None, "GET /orders/{id}", 0, 40_000, json!({"madang.release": "r1"}));
        let told = SpanView {
            kind: "server".to_owned(),
            peer: None,
            error: true,
            instance: Some("orders-a".to_owned()),
            release: Some("r1".to_owned()),
            details: Some(details),
            ..span(2, Some(1), "GET /orders/{id}", 1000, 38_000, json!({}))
        };
        expect![[r#"
            trace 00000000000000000000000000000007: 2 spans, 40.0 ms
            SPAN                FROM    TO     DURATION  TIME                            DETAILS
            GET /orders/{id}    orders  users  40.0 ms   ██████████████████████████████  release r1
              GET /orders/{id}  orders  -      38.0 ms   █████████████████████████████   failed, it broke, orders-a, release r1
                · cache miss    orders         +5.00 ms     ╵                            key=user-7 size=3
                · exception     orders         +30.0 ms                        ╵         TypeError: x is none
        "#]].assert_eq(&drawn(vec![gateway, told]));
    }

    #[test]
    fn whatever_spans_claim_they_are_drawn() {
        let claims = [(1, Some(2)), (2, Some(1)), (3, Some(3)), (4, Some(1))];
        let spans = claims.map(|(id, parent)| span(id, parent, "circle", 0, u64::MAX, json!({})));
        assert_eq!(drawn(spans.to_vec()).matches("circle").count(), 4);
    }
}
