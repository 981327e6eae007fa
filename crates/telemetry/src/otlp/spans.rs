//! What is kept of a span.

use madang_wire::{
    SpanId, TraceId,
    otlp::{
        Message,
        common::v1::InstrumentationScope,
        trace::v1::{ResourceSpans, Span as Given, span::SpanKind, status::StatusCode},
    },
    trace::{SpanDetails, SpanEvent, SpanLink},
};

use super::{Partial, sender::Origin, value};
use crate::traces::{Attributes, Span, Told};

/// The longest name, in bytes.
const NAME: usize = 512;

/// How many events, and how many links, are kept of one span.
const MOST: usize = 128;

/// Adds the spans of one resource, the so manieth of its export, each with about how many bytes it takes.
pub(super) fn read(
    at: usize,
    origin: &Origin,
    given: ResourceSpans,
    spans: &mut Vec<(Span, usize)>,
    partial: &mut Partial,
) {
    for (scope_at, of_scope) in given.scope_spans.into_iter().enumerate() {
        let scope = of_scope.scope.as_ref().and_then(scope);
        for (span_at, given) in of_scope.spans.into_iter().enumerate() {
            let bytes = given.encoded_len();
            match span(origin, scope.as_deref(), given) {
                Ok(span) => spans.push((span, bytes)),
                Err(why) => partial.reject(1, || {
                    format!("resourceSpans[{at}].scopeSpans[{scope_at}].spans[{span_at}]: {why}")
                }),
            }
        }
    }
}

/// The name of a scope and its version.
fn scope(scope: &InstrumentationScope) -> Option<String> {
    let mut said = [&*scope.name, &*scope.version].join(" ").trim().to_owned();
    value::cut(&mut said, NAME);
    (!said.is_empty()).then_some(said)
}

fn span(origin: &Origin, scope: Option<&str>, mut given: Given) -> Result<Span, String> {
    let trace = trace_id(&given.trace_id)?;
    let id = span_id("span id", &given.span_id)?;
    let parent = match given.parent_span_id.as_slice() {
        // All zeros is how some write that there is none.
        [] | [0, 0, 0, 0, 0, 0, 0, 0] => None,
        bytes => Some(span_id("parent span id", bytes)?),
    };
    if given.start_time_unix_nano == 0 {
        return Err("it does not say when it began".to_owned());
    }
    value::cut(&mut given.name, NAME);
    let status = given.status.take().unwrap_or_default();
    let error = status.code() == StatusCode::Error;
    let kind = match given.kind() {
        SpanKind::Unspecified | SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    };
    let (attributes, mut dropped) = value::attributes(given.attributes);
    dropped += [given.dropped_attributes_count, given.dropped_events_count, given.dropped_links_count]
        .map(u64::from)
        .iter()
        .sum::<u64>();
    let mut details = SpanDetails {
        message: error.then(|| shortened(status.message)).flatten(),
        scope: scope.map(str::to_owned),
        trace_state: shortened(given.trace_state),
        ..Default::default()
    };
    dropped += given.events.len().saturating_sub(MOST) as u64 + given.links.len().saturating_sub(MOST) as u64;
    for event in given.events.into_iter().take(MOST) {
        let (attributes, more) = value::attributes(event.attributes);
        dropped += more + u64::from(event.dropped_attributes_count);
        let name = shortened(event.name).unwrap_or_default();
        details.events.push(SpanEvent { at_us: event.time_unix_nano / 1000, name, attributes });
    }
    for link in given.links.into_iter().take(MOST) {
        let (attributes, more) = value::attributes(link.attributes);
        dropped += more + u64::from(link.dropped_attributes_count);
        match (trace_id(&link.trace_id), span_id("span id", &link.span_id)) {
            (Ok(trace_id), Ok(span_id)) => details.links.push(SpanLink { trace_id, span_id, attributes }),
            _ => dropped += 1,
        }
    }
    details.dropped = dropped;
    let start = given.start_time_unix_nano / 1000;
    let peer = attributes.get("peer.service").and_then(|peer| peer.as_str()).map(Into::into);
    Ok(Span {
        trace,
        id,
        parent,
        service: origin.service.clone(),
        peer,
        name: given.name,
        kind,
        start,
        duration: (given.end_time_unix_nano / 1000).saturating_sub(start),
        error,
        attributes: Attributes::Told(attributes),
        told: Some(Box::new(Told {
            instance: origin.instance.clone(),
            release: origin.release.clone(),
            details,
            resource: origin.resource.clone(),
        })),
    })
}

fn shortened(mut text: String) -> Option<String> {
    value::cut(&mut text, value::LONGEST);
    (!text.is_empty()).then_some(text)
}

/// An id that names a trace.
pub(super) fn trace_id(bytes: &[u8]) -> Result<TraceId, String> {
    match <[u8; 16]>::try_from(bytes).map(u128::from_be_bytes) {
        Ok(0) => Err("its trace id is all zeros".to_owned()),
        Ok(id) => Ok(TraceId(id)),
        Err(_) => Err(format!("its trace id has {} bytes instead of 16", bytes.len())),
    }
}

/// An id that names a span.
pub(super) fn span_id(which: &str, bytes: &[u8]) -> Result<SpanId, String> {
    match <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes) {
        Ok(0) => Err(format!("its {which} is all zeros")),
        Ok(id) => Ok(SpanId(id)),
        Err(_) => Err(format!("its {which} has {} bytes instead of 8", bytes.len())),
    }
}
