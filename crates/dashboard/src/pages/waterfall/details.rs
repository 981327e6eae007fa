//! All that is known of one span: why it failed, what happened meanwhile, where it ran, and its attributes.

use madang_wire::trace::{SpanDetails, SpanEvent, SpanView};
use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::format;

/// What OpenTelemetry's conventions call an event that is an exception, and what it says.
const EXCEPTION: &str = "exception";
const TYPE: &str = "exception.type";
const MESSAGE: &str = "exception.message";
const STACK: &str = "exception.stacktrace";

/// The release that a span happened in, if it told of itself, or that its caller saw answer.
pub(super) fn release(span: &SpanView) -> Option<&str> {
    span.release.as_deref().or_else(|| text(&span.attributes, "madang.release"))
}

/// What a span's row holds when it is opened. `start` is when the trace began, in microseconds since 1970.
pub(super) fn all(span: &SpanView, start: u64) -> Markup {
    let none = SpanDetails::default();
    let details = span.details.as_ref().unwrap_or(&none);
    html! {
        @if let Some(message) = &details.message { p.notice.bad { (message) } }
        @for event in &details.events { (happened(event, start)) }
        dl.facts {
            (fact("kind", &span.kind)) (fact("span", &span.span_id.to_string()))
            div { dt { "began" } dd { (format::clock(span.start_us / 1000)) } }
            @if let Some(instance) = &span.instance { (fact("instance", instance)) }
            @if let Some(release) = &span.release { (fact("release", release)) }
            @if let Some(scope) = &details.scope { (fact("told by", scope)) }
            @if let Some(state) = &details.trace_state { (fact("tracestate", state)) }
            (attributes(&span.attributes))
        }
        @for link in &details.links {
            p { "Has to do with " (format::trace(&link.trace_id.to_string())) " "
                @for (name, value) in &link.attributes { span.muted { (name) "=" (shown(value)) " " } } }
        }
        @if details.dropped > 0 { p.muted { (details.dropped) " more attributes, events and links were left out." } }
        @if !span.resource.is_empty() {
            details { summary { "Where it ran" } dl.facts { (attributes(&span.resource)) } }
        }
    }
}

/// An event; of an exception its type and message, with the stack trace folded.
fn happened(event: &SpanEvent, start: u64) -> Markup {
    let after = format::took(event.at_us.saturating_sub(start));
    if event.name != EXCEPTION {
        return html! {
            div.event { span.muted { "after " (after) } " " strong { (event.name) } " "
                @for (name, value) in &event.attributes { span.muted { (name) "=" (shown(value)) " " } } }
        };
    }
    let of = |name| text(&event.attributes, name);
    let rest = event.attributes.iter().filter(|(name, _)| ![TYPE, MESSAGE, STACK].contains(&name.as_str()));
    html! {
        div.event.exception {
            span.muted { "after " (after) } " " strong.bad { (of(TYPE).unwrap_or(EXCEPTION)) }
            @if let Some(message) = of(MESSAGE) { ": " (message) }
            @for (name, value) in rest { " " span.muted { (name) "=" (shown(value)) } }
            @if let Some(stack) = of(STACK) { details { summary { "Stack trace" } pre { (stack) } } }
        }
    }
}

fn attributes(attributes: &Map<String, Value>) -> Markup {
    html! { @for (name, value) in attributes { (fact(name, &shown(value))) } }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd.mono { (value) } } }
}

fn text<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_exception_is_told_with_its_stack_folded() {
        let span: SpanView = serde_json::from_value(json!({
            "span_id": "00f067aa0ba902b7", "parent_span_id": null, "service": "payments", "peer": null, "name": "charge",
            "kind": "internal", "start_us": 1_000_000, "duration_us": 10, "error": true,
            "attributes": {"db.system": "sqlite"}, "instance": "payments-a", "release": "0a1b2c",
            "details": {"message": "declined", "scope": "shop 1.0", "dropped": 2, "events": [
                {"at_us": 1_000_004, "name": "retry", "attributes": {"n": 2}},
                {"at_us": 1_000_008, "name": "exception", "attributes": {
                    "exception.type": "Declined", "exception.message": "<limit>", "exception.stacktrace": "at a\nat b",
                    "exception.escaped": true}}]},
            "resource": {"host.name": "here"},
        }))
        .unwrap();
        let shown = all(&span, 999_000).into_string();
        for expected in [
            "<p class=\"notice bad\">declined</p>",
            "<span class=\"muted\">after 1.00 ms</span> <strong>retry</strong> <span class=\"muted\">n=2 </span>",
            "<strong class=\"bad\">Declined</strong>: &lt;limit&gt; <span class=\"muted\">exception.escaped=true</span>",
            "<details><summary>Stack trace</summary><pre>at a\nat b</pre></details>",
            "<dt>instance</dt><dd class=\"mono\">payments-a</dd>",
            "<dt>release</dt><dd class=\"mono\">0a1b2c</dd>",
            "<dt>db.system</dt>",
            "2 more attributes",
            "<dt>host.name</dt>",
        ] {
            assert!(shown.contains(expected), "no {expected} in {shown}");
        }
        assert_eq!(release(&span), Some("0a1b2c"));
    }

    #[test]
    fn a_call_says_the_release_that_answered() {
        let span: SpanView = serde_json::from_value(json!({
            "span_id": "00f067aa0ba902b7", "parent_span_id": null, "service": "orders", "peer": "payments", "name": "call",
            "kind": "client", "start_us": 0, "duration_us": 1, "error": false, "attributes": {"madang.release": "ff00"},
        }))
        .unwrap();
        assert_eq!(release(&span), Some("ff00"));
    }
}
