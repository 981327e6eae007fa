//! Who is told of what a service does: a node with its service API, which takes spans and metrics over OTLP besides.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use madang::axum::{self, Router, body::Body, extract::State, routing::get, routing::post};
use madang_wire::{
    RequestRecord,
    otlp::{
        Message,
        collector::metrics::v1::ExportMetricsServiceRequest,
        collector::trace::v1::ExportTraceServiceRequest,
        metrics::v1::{NumberDataPoint, metric::Data, number_data_point},
        text, to_json,
        trace::v1,
    },
    service::Records,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

/// Who is told of what a service does.
#[derive(Clone)]
pub struct Receiver(Arc<Inner>);

struct Inner {
    told: watch::Sender<Told>,
    refuses: Mutex<bool>,
}

/// All that it was told.
#[derive(Default, Clone)]
pub struct Told {
    pub spans: Vec<Span>,
    /// Those that tell of waiting, which hangs on the load of the machine.
    pub waits: Vec<Span>,
    pub records: Vec<RequestRecord>,
    pub metrics: Vec<ExportMetricsServiceRequest>,
}

/// A span and whose it is.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub instance: Option<String>,
    pub span: v1::Span,
}

impl Receiver {
    /// It lets these services be called.
    pub async fn start(services: &[&str]) -> (Self, String) {
        let receiver = Self(Arc::new(Inner { told: watch::Sender::default(), refuses: Mutex::new(false) }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let services = services.iter().map(|name| format!(r#""{name}": {{"instances": []}}"#));
        let known =
            format!("{{\"version\": 1, \"services\": {{{}}}}}\n", services.collect::<Vec<_>>().join(", "));
        let endpoints = move || async move {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>(known)]);
            Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
        };
        let router = Router::new()
            .route("/v1/endpoints", get(endpoints))
            .route("/v1/records", post(records))
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(receiver.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        (receiver, url)
    }

    /// Whether it refuses to take spans.
    pub fn refuse(&self, refuses: bool) {
        *self.0.refuses.lock().unwrap() = refuses;
    }

    /// What it was told, once that holds of it.
    pub async fn told(&self, holds: impl Fn(&Told) -> bool) -> Told {
        let mut told = self.0.told.subscribe();
        let waited =
            tokio::time::timeout(std::time::Duration::from_secs(20), told.wait_for(|told| holds(told))).await;
        match waited {
            Ok(told) => told.unwrap().clone(),
            Err(_) => panic!("it was told only this: {:?}", self.0.told.borrow().spans),
        }
    }

    /// What it was told so far.
    pub fn so_far(&self) -> Told {
        self.0.told.borrow().clone()
    }
}

async fn records(State(receiver): State<Receiver>, body: Bytes) {
    let Records { mut records, .. } = serde_json::from_slice(&body).unwrap();
    receiver.0.told.send_modify(|told| told.records.append(&mut records));
}

async fn traces(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["authorization"], "Bearer a b");
    if *receiver.0.refuses.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let spans = request.resource_spans.into_iter().flat_map(|of| {
        let resource = of.resource.unwrap().attributes;
        let service = text(&resource, "service.name").unwrap().to_owned();
        let instance = text(&resource, "service.instance.id").map(str::to_owned);
        let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Span { service: service.clone(), instance: instance.clone(), span })
    });
    let (waits, spans): (Vec<_>, Vec<_>) = spans.partition(|span| span.span.name.starts_with("wait for "));
    receiver.0.told.send_modify(|told| {
        told.spans.extend(spans);
        told.waits.extend(waits);
    });
    StatusCode::OK
}

async fn metrics(State(receiver): State<Receiver>, body: Bytes) {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    receiver.0.told.send_modify(|told| told.metrics.push(request));
}

impl Told {
    /// The only span of this name.
    pub fn span(&self, name: &str) -> &Span {
        match &self.spans.iter().filter(|span| span.span.name == name).collect::<Vec<_>>()[..] {
            [only] => only,
            several => panic!("{} spans {name}: {:#?}", several.len(), self.spans),
        }
    }

    /// The names of the spans below this one, in the order in which they began.
    pub fn below(&self, parent: &[u8]) -> Vec<&str> {
        let mut below: Vec<_> =
            self.spans.iter().map(|span| &span.span).filter(|span| span.parent_span_id == parent).collect();
        below.sort_by_key(|span| span.start_time_unix_nano);
        below.iter().map(|span| &*span.name).collect()
    }
}

impl Told {
    /// The number of a metric of a service that was told last, or how often something took its time, where that attribute
    /// is so.
    pub fn counted(&self, service: &str, name: &str, key: &str, value: &str) -> Option<u64> {
        let of_service =
            self.metrics.last()?.resource_metrics.iter().filter(|of| {
                text(&of.resource.as_ref().unwrap().attributes, "service.name") == Some(service)
            });
        let metrics = of_service.flat_map(|of| &of.scope_metrics).flat_map(|scope| &scope.metrics);
        let is = |attributes: &[_]| key.is_empty() || text(attributes, key) == Some(value);
        let number = |points: &[NumberDataPoint]| {
            let point = points.iter().find(|point| is(&point.attributes))?;
            match point.value? {
                number_data_point::Value::AsInt(number) => number.try_into().ok(),
                number_data_point::Value::AsDouble(_) => None,
            }
        };
        metrics.filter(|metric| metric.name == name).find_map(|metric| match metric.data.as_ref()? {
            Data::Sum(sum) => number(&sum.data_points),
            Data::Gauge(gauge) => number(&gauge.data_points),
            Data::Histogram(histogram) => {
                histogram.data_points.iter().find(|point| is(&point.attributes)).map(|point| point.count)
            }
            _ => None,
        })
    }
}

impl Span {
    /// An attribute.
    pub fn attribute(&self, key: &str) -> Value {
        let found = self.span.attributes.iter().find(|attribute| attribute.key == key);
        found.map(|found| to_json(found.value.clone())).unwrap_or_default()
    }

    /// The message of its failure; none if it did not fail.
    pub fn failure(&self) -> Option<&str> {
        self.span.status.as_ref().filter(|status| status.code == 2).map(|status| &*status.message)
    }

    /// The type and the message of the exception that it failed with.
    pub fn exception(&self) -> Option<(&str, &str)> {
        let event = self.span.events.iter().find(|event| event.name == "exception")?;
        let of = |key| text(&event.attributes, key).unwrap();
        Some((of("exception.type"), of("exception.message")))
    }
}
