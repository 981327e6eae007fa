//! A second receiver: it takes OTLP over HTTP, as any back end does, and keeps what came.

use std::{
    io::Read,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use flate2::read::GzDecoder;
use madang_wire::{
    otlp::{
        Message,
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            trace::v1::ExportTraceServiceRequest,
        },
        text, to_json,
        trace::v1::Span,
    },
    trace::{SpanView, TraceView},
};
use tokio::net::TcpListener;

/// What came, of all signals.
#[derive(Default)]
struct Came {
    /// Each with the name of its service.
    spans: Vec<(String, Span)>,
    logs: Vec<ExportLogsServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    headers: Vec<HeaderMap>,
}

pub struct Collector {
    url: String,
    came: Arc<Mutex<Came>>,
}

type Kept = State<Arc<Mutex<Came>>>;

impl Collector {
    pub async fn start() -> Self {
        let came: Arc<Mutex<Came>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/logs", post(logs))
            .route("/v1/metrics", post(metrics))
            .with_state(came.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, came }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The spans of one trace.
    pub fn spans_of(&self, trace: u128) -> Vec<(String, Span)> {
        let came = self.came.lock().unwrap();
        came.spans.iter().filter(|(_, span)| span.trace_id == trace.to_be_bytes()).cloned().collect()
    }

    /// A span of the trace that did not come as it is shown.
    pub fn missing<'a>(&self, view: &'a TraceView) -> Option<&'a SpanView> {
        let came = self.spans_of(view.trace_id.0);
        let same = |shown: &SpanView, (service, span): &(String, Span)| {
            let kind = ["", "internal", "server", "client", "producer", "consumer"][span.kind as usize];
            let parent = shown.parent_span_id.map(|id| id.0.to_be_bytes().to_vec()).unwrap_or_default();
            let status = span.status.as_ref().is_some_and(|status| status.code == 2);
            *service == shown.service
                && span.span_id == shown.span_id.0.to_be_bytes()
                && span.parent_span_id == parent
                && (span.name.as_str(), kind, status) == (&shown.name, &shown.kind, shown.error)
                && span.start_time_unix_nano / 1000 == shown.start_us
                && span.end_time_unix_nano / 1000 == shown.start_us + shown.duration_us
                && span.events.len() == shown.details.as_ref().map_or(0, |details| details.events.len())
        };
        view.spans.iter().find(|shown| !came.iter().any(|came| same(shown, came)))
    }

    /// Whether a log record with this body came.
    pub fn has_log(&self, body: &str) -> bool {
        let came = self.came.lock().unwrap();
        let resources = came.logs.iter().flat_map(|export| &export.resource_logs);
        let mut records = resources.flat_map(|of| &of.scope_logs).flat_map(|scope| &scope.log_records);
        records.any(|record| to_json(record.body.clone()) == body)
    }

    /// Whether a metric of this name came.
    pub fn has_metric(&self, name: &str) -> bool {
        let came = self.came.lock().unwrap();
        let resources = came.metrics.iter().flat_map(|export| &export.resource_metrics);
        resources
            .flat_map(|of| &of.scope_metrics)
            .flat_map(|scope| &scope.metrics)
            .any(|metric| metric.name == name)
    }

    /// Whether every export carried this header.
    pub fn headers_were(&self, name: &str, value: &str) -> bool {
        let came = self.came.lock().unwrap();
        !came.headers.is_empty()
            && came.headers.iter().all(|headers| headers.get(name).is_some_and(|it| it == value))
    }
}

fn read<M: Message + Default>(came: &Kept, headers: HeaderMap, packed: &Bytes) -> M {
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    came.lock().unwrap().headers.push(headers);
    let mut bytes = Vec::new();
    GzDecoder::new(&**packed).read_to_end(&mut bytes).expect("gzip");
    M::decode(&*bytes).expect("an export")
}

async fn traces(came: Kept, headers: HeaderMap, packed: Bytes) {
    let export: ExportTraceServiceRequest = read(&came, headers, &packed);
    for of in export.resource_spans {
        let resource = of.resource.unwrap_or_default();
        let service = text(&resource.attributes, "service.name").unwrap_or_default().to_owned();
        let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
        came.lock().unwrap().spans.extend(spans.map(|span| (service.clone(), span)));
    }
}

async fn logs(came: Kept, headers: HeaderMap, packed: Bytes) {
    let export = read(&came, headers, &packed);
    came.lock().unwrap().logs.push(export);
}

async fn metrics(came: Kept, headers: HeaderMap, packed: Bytes) {
    let export = read(&came, headers, &packed);
    came.lock().unwrap().metrics.push(export);
}
