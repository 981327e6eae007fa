//! A second receiver: it takes OTLP over HTTP, as any back end does, and keeps what came.

use std::{
    io::Read,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use flate2::read::GzDecoder;
use madang_wire::{
    otlp::{
        Message,
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            trace::v1::ExportTraceServiceRequest,
        },
        metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, metric::Data, number_data_point},
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
    /// Whether it takes nothing now.
    away: bool,
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

    /// From now on it takes nothing, or everything.
    pub fn refuse(&self, away: bool) {
        self.came.lock().unwrap().away = away;
    }

    /// How many spans came.
    pub fn spans(&self) -> u64 {
        self.came.lock().unwrap().spans.len() as u64
    }

    /// How many log records came.
    pub fn lines(&self) -> u64 {
        let came = self.came.lock().unwrap();
        let scopes = came.logs.iter().flat_map(|export| &export.resource_logs).flat_map(|of| &of.scope_logs);
        scopes.map(|scope| scope.log_records.len() as u64).sum()
    }

    /// What a sum of Madang's own added up to at last.
    pub fn latest(&self, name: &str) -> f64 {
        let metrics = self.own();
        let Some(Data::Sum(sum)) =
            metrics.iter().find(|metric| metric.name == name).and_then(|it| it.data.clone())
        else {
            return 0.0;
        };
        let value = |point: &NumberDataPoint| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => value,
            _ => panic!("{point:?}"),
        };
        sum.data_points.iter().map(value).sum()
    }

    /// How many points Madang's own metrics had at last.
    pub fn latest_points(&self) -> usize {
        let points = |metric: &Metric| match &metric.data {
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            Some(Data::Histogram(histogram)) => histogram.data_points.len(),
            other => panic!("{other:?}"),
        };
        self.own().iter().map(points).sum()
    }

    /// What Madang measured itself, the last time that it came.
    fn own(&self) -> Vec<Metric> {
        let came = self.came.lock().unwrap();
        let mut all = came.metrics.iter().flat_map(|export| &export.resource_metrics);
        let own = |of: &&ResourceMetrics| {
            of.resource.as_ref().is_some_and(|it| text(&it.attributes, "service.name") == Some("madang"))
        };
        let last = all.rfind(own).cloned().unwrap_or_default();
        last.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect()
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

/// What came, unless it takes nothing now.
fn read<M: Message + Default>(came: &Kept, headers: HeaderMap, packed: &Bytes) -> Result<M, StatusCode> {
    if came.lock().unwrap().away {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    came.lock().unwrap().headers.push(headers);
    let mut bytes = Vec::new();
    GzDecoder::new(&**packed).read_to_end(&mut bytes).expect("gzip");
    Ok(M::decode(&*bytes).expect("an export"))
}

async fn traces(came: Kept, headers: HeaderMap, packed: Bytes) -> Result<(), StatusCode> {
    let export: ExportTraceServiceRequest = read(&came, headers, &packed)?;
    for of in export.resource_spans {
        let resource = of.resource.unwrap_or_default();
        let service = text(&resource.attributes, "service.name").unwrap_or_default().to_owned();
        let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
        came.lock().unwrap().spans.extend(spans.map(|span| (service.clone(), span)));
    }
    Ok(())
}

async fn logs(came: Kept, headers: HeaderMap, packed: Bytes) -> Result<(), StatusCode> {
    let export = read(&came, headers, &packed)?;
    came.lock().unwrap().logs.push(export);
    Ok(())
}

async fn metrics(came: Kept, headers: HeaderMap, packed: Bytes) -> Result<(), StatusCode> {
    let export = read(&came, headers, &packed)?;
    came.lock().unwrap().metrics.push(export);
    Ok(())
}
