//! What a service sent at once may be more than a back end takes at once: it is taken apart.

use madang_wire::otlp::{
    Message,
    logs::v1::{ResourceLogs, ScopeLogs},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    trace::v1::{ResourceSpans, ScopeSpans},
};

use super::{Item, export::LARGEST};

/// The item, or several that are the same together.
pub(super) fn split(item: Item) -> Vec<Item> {
    if item.bytes() <= LARGEST {
        return vec![item];
    }
    match item {
        Item::Spans(of) => {
            let ResourceSpans { resource, scope_spans, schema_url } = of;
            let parts = scope_spans.into_iter().flat_map(|ScopeSpans { scope, spans, schema_url }| {
                let part =
                    move |spans| ScopeSpans { scope: scope.clone(), spans, schema_url: schema_url.clone() };
                chunks(spans).into_iter().map(part)
            });
            let item = |part| ResourceSpans {
                resource: resource.clone(),
                scope_spans: vec![part],
                schema_url: schema_url.clone(),
            };
            parts.map(item).map(Item::Spans).collect()
        }
        Item::Logs(of) => {
            let ResourceLogs { resource, scope_logs, schema_url } = of;
            let parts = scope_logs.into_iter().flat_map(|ScopeLogs { scope, log_records, schema_url }| {
                let part = move |log_records| ScopeLogs {
                    scope: scope.clone(),
                    log_records,
                    schema_url: schema_url.clone(),
                };
                chunks(log_records).into_iter().map(part)
            });
            let item = |part| ResourceLogs {
                resource: resource.clone(),
                scope_logs: vec![part],
                schema_url: schema_url.clone(),
            };
            parts.map(item).map(Item::Logs).collect()
        }
        Item::Metrics(of) => {
            let ResourceMetrics { resource, scope_metrics, schema_url } = of;
            let parts = scope_metrics.into_iter().flat_map(|ScopeMetrics { scope, metrics, schema_url }| {
                let part = move |metrics| ScopeMetrics {
                    scope: scope.clone(),
                    metrics,
                    schema_url: schema_url.clone(),
                };
                chunks(metrics).into_iter().map(part)
            });
            let item = |part| ResourceMetrics {
                resource: resource.clone(),
                scope_metrics: vec![part],
                schema_url: schema_url.clone(),
            };
            parts.map(item).map(Item::Metrics).collect()
        }
    }
}

/// Groups that end with the message with which they are as large as an export.
fn chunks<M: Message>(messages: Vec<M>) -> Vec<Vec<M>> {
    let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for message in messages {
        bytes += message.encoded_len();
        chunk.push(message);
        if bytes >= LARGEST {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}
