//! Metrics on their way out: every ten seconds, all that adds up from the start of the process. What is not taken once
//! is in the next message.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use madang_wire::otlp::{
    Message, attribute,
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram as HistogramOf, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point::Value,
    },
};
use tokio::{
    runtime::Handle,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    encode,
    export::Losses,
    measure::{BOUNDS, Histogram},
    send::{Sender, Unsent},
    settings::Settings,
    source::Source,
    span::now,
};
use crate::error::chain;

/// Sends metrics.
pub(super) struct Reporter {
    sender: Sender,
    resource: Vec<(String, String)>,
    interval: Duration,
    sources: Vec<Arc<Source>>,
    losses: Arc<Losses>,
    /// When all began to add up, in nanoseconds since 1970.
    start: u64,
    /// How long the runtime was busy when it was last looked at.
    looked: (Instant, Duration),
}

// === impl Reporter ===

impl Reporter {
    /// None if metrics go nowhere.
    pub(super) fn new(settings: &Settings, sources: Vec<Arc<Source>>, losses: Arc<Losses>) -> Option<Self> {
        let sender = Sender::new(settings.metrics.clone()?, settings.limits.timeout);
        let (resource, interval) = (settings.resource.clone(), settings.limits.interval);
        let looked = (Instant::now(), busy());
        Some(Self { sender, resource, interval, sources, losses, start: now(), looked })
    }

    /// Sends until this is `over`, and then once more.
    pub(super) async fn run(mut self, over: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = over.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let message = self.message().encode_to_vec();
            if let Err(Unsent::Later(error, _) | Unsent::Never(error)) =
                self.sender.send(message.into()).await
            {
                let error = chain(error.as_ref());
                tracing::debug!(error, "metrics are not taken; the next ones have them too");
            }
            if last {
                return;
            }
        }
    }

    fn message(&mut self) -> ExportMetricsServiceRequest {
        let mut resource_metrics: Vec<ResourceMetrics> = self
            .sources
            .iter()
            .map(|source| {
                let metrics = self.of_service(source);
                let scope_metrics =
                    vec![ScopeMetrics { scope: Some(encode::scope()), metrics, schema_url: String::new() }];
                let resource = Some(encode::resource(source.name(), &self.resource));
                ResourceMetrics { resource, scope_metrics, schema_url: String::new() }
            })
            .collect();
        // The process is told of once: with the first of its services.
        let of_process = self.of_process();
        if let Some(first) = resource_metrics.iter_mut().flat_map(|of| &mut of.scope_metrics).next() {
            first.metrics.extend(of_process);
        }
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn of_service(&self, source: &Source) -> Vec<Metric> {
        let Some(measured) = source.measured() else { return Vec::new() };
        let (series, others) = measured.requests();
        let mut requests: Vec<_> = series
            .into_iter()
            .map(|(route, series)| {
                let mut attributes = vec![attribute("http.request.method", series.method)];
                if !route.is_empty() {
                    attributes.push(attribute("http.route", &route));
                }
                match series.status {
                    Some(status) => attributes.push(integer("http.response.status_code", status.into())),
                    None => attributes.push(attribute("error.type", "cancelled")),
                }
                self.durations(attributes, &series.durations)
            })
            .collect();
        if others.counts.iter().any(|count| *count > 0) {
            requests.push(self.durations(vec![attribute("otel.metric.overflow", "true")], &others));
        }
        let mut metrics = vec![histogram("http.server.request.duration", requests)];
        if let Some(([used, idle, most], waits)) = measured.connections() {
            let pool = || attribute("db.client.connection.pool.name", source.name());
            let in_state = |state, count: u32| {
                self.number(
                    vec![pool(), attribute("db.client.connection.state", state)],
                    Value::AsInt(count.into()),
                )
            };
            let counts = vec![in_state("used", used), in_state("idle", idle)];
            metrics.push(sum("db.client.connection.count", "{connection}", false, counts));
            let most = vec![self.number(vec![pool()], Value::AsInt(most.into()))];
            metrics.push(sum("db.client.connection.max", "{connection}", false, most));
            metrics.push(histogram(
                "db.client.connection.wait_time",
                vec![self.durations(vec![pool()], &waits)],
            ));
        }
        for (name, count) in measured.counters() {
            metrics.push(sum(name, "1", true, vec![self.number(Vec::new(), int(count))]));
        }
        metrics
    }

    fn of_process(&mut self) -> Vec<Metric> {
        let runtime = Handle::current().metrics();
        let (now, busy) = (Instant::now(), busy());
        let (then, before) = std::mem::replace(&mut self.looked, (now, busy));
        let possible = (now - then).as_secs_f64() * runtime.num_workers() as f64;
        let share = if possible > 0.0 { (busy - before).as_secs_f64() / possible } else { 0.0 };
        let gauge = |name: &str, unit: &str, value| {
            metric(name, unit, Data::Gauge(Gauge { data_points: vec![self.number(Vec::new(), value)] }))
        };
        let lost = |reason, count: u64| self.number(vec![attribute("reason", reason)], int(count));
        let Losses { overflow, unsent, refused } = &*self.losses;
        let lost = vec![
            lost("overflow", overflow.load(Relaxed)),
            lost("unsent", unsent.load(Relaxed)),
            lost("refused", refused.load(Relaxed)),
        ];
        vec![
            gauge("madang.runtime.tasks", "{task}", int(runtime.num_alive_tasks() as u64)),
            gauge("madang.runtime.queue", "{task}", int(runtime.global_queue_depth() as u64)),
            gauge("madang.runtime.busy", "1", Value::AsDouble(share.clamp(0.0, 1.0))),
            sum("madang.spans.lost", "{span}", true, lost),
        ]
    }

    fn number(&self, attributes: Vec<KeyValue>, value: Value) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: now(),
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn durations(&self, attributes: Vec<KeyValue>, histogram: &Histogram) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: now(),
            count: histogram.counts.iter().sum(),
            sum: Some(histogram.sum),
            bucket_counts: histogram.counts.to_vec(),
            explicit_bounds: BOUNDS.to_vec(),
            ..HistogramDataPoint::default()
        }
    }
}

/// How long the workers of the runtime were busy, all together.
fn busy() -> Duration {
    let runtime = Handle::current().metrics();
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

fn sum(name: &str, unit: &str, is_monotonic: bool, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, unit, Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic }))
}

fn histogram(name: &str, data_points: Vec<HistogramDataPoint>) -> Metric {
    metric(name, "s", Data::Histogram(HistogramOf { data_points, aggregation_temporality: CUMULATIVE }))
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn int(value: u64) -> Value {
    Value::AsInt(value.try_into().unwrap_or(i64::MAX))
}

fn integer(key: &str, value: i64) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(any_value::Value::IntValue(value)) }) }
}
