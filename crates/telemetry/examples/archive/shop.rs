//! Requests of a shop: each is a trace of eight spans, three seen by hops and five told by services.

use std::sync::Arc;

use madang_telemetry::otlp::Sender;
use madang_wire::{
    Hop, RequestRecord, SpanId, TraceId,
    otlp::{
        Message, attribute,
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
    },
};

/// How many spans each trace has.
pub const SPANS: u64 = 8;

/// The services; most requests are for the first eight. `quiet` has one in two hundred, of which none fails or is
/// slow, and `rare` one in a hundred thousand.
pub const SERVICES: [&str; 10] =
    ["orders", "users", "catalog", "payments", "mail", "stock", "search", "reviews", "quiet", "rare"];
const BUSY: u64 = 8;
const QUIET: usize = 8;
const RARE: usize = 9;

/// What all requests share.
pub struct Shop {
    services: Vec<Arc<str>>,
    routes: Vec<Arc<str>>,
    instances: Vec<Arc<str>>,
    methods: [Arc<str>; 2],
    release: Arc<str>,
    senders: Vec<Sender>,
}

/// What is told of one request: by the hops, and by each service.
pub struct Request {
    pub records: Vec<RequestRecord>,
    pub told: Vec<(usize, Span)>,
}

/// The id of the nth trace: clients choose theirs at random.
pub fn trace_id(n: u64) -> TraceId {
    TraceId((u128::from(mixed(n)) << 64) | u128::from(mixed(!n)))
}

/// A number that looks like chance, and is the same at each run.
pub fn mixed(n: u64) -> u64 {
    let mut mixed = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

// === impl Shop ===

impl Shop {
    pub fn new() -> Self {
        let release: Arc<str> = "5f1e0c2a9b7d".into();
        let sender = |name: &&str| Sender {
            name: (*name).into(),
            unit: (*name).into(),
            services: vec![(*name).into()],
            instance: Some(format!("{name}-a").into()),
            release: Some(release.clone()),
        };
        Self {
            services: SERVICES.iter().map(|name| (*name).into()).collect(),
            routes: SERVICES.iter().map(|name| format!("/{name}/{{id}}").into()).collect(),
            instances: SERVICES.iter().map(|name| format!("{name}-a").into()).collect(),
            methods: ["GET".into(), "POST".into()],
            senders: SERVICES.iter().map(sender).collect(),
            release,
        }
    }

    /// Who sends what this service tells.
    pub fn sender(&self, service: usize) -> &Sender {
        &self.senders[service]
    }

    /// The nth request: one in a hundred failed, one took more than 200 ms, and one in a thousand 3 s.
    pub fn request(&self, n: u64, at_us: u64) -> Request {
        let chance = mixed(n ^ 0x5bd1);
        let entry = match n {
            _ if n % 100_000 == 7 => RARE,
            _ if n % 200 == 1 => QUIET,
            _ => (chance % BUSY) as usize,
        };
        let others = [(chance >> 8) % BUSY, (chance >> 16) % BUSY].map(|other| other as usize);
        let failed = n.is_multiple_of(100);
        let took = match n % 1000 {
            500 => 3_000_000,
            // Neither those that failed nor those of the quiet service.
            slow if slow % 100 == 50 => 200_000 + chance % 700_000,
            _ => 2_000 + chance % 12_000,
        };
        let span = |place: u64| SpanId(mixed(n * SPANS + place) | 1);
        let hop = |place: u64, parent: Option<u64>, caller: Option<usize>, service: usize, took: u64| {
            let at = at_us + place * 150;
            RequestRecord {
                at: at / 1000,
                at_us: (at % 1000) as u16,
                hop: if caller.is_none() { Hop::Gateway } else { Hop::Sdk },
                request_id: format!("{:016x}", mixed(n ^ 0xabcd)).parse().unwrap_or_else(|_| n.into()),
                trace_id: trace_id(n),
                span_id: span(place),
                parent_span_id: parent.map(span),
                route: caller.is_none().then(|| self.routes[service].clone()),
                caller: caller.map(|caller| self.services[caller].clone()),
                service: Some(self.services[service].clone()),
                instance: Some(self.instances[service].clone()),
                release: Some(self.release.clone()),
                method: self.methods[usize::from(n.is_multiple_of(4))].clone(),
                status: if failed { 503 } else { 200 },
                grpc_status: None,
                code: failed.then(|| "MDG-CALL-001".into()),
                fault: None,
                fallback: None,
                cache: None,
                attempts: 1,
                duration_us: took,
                upstream_us: took - 100,
                parked_us: 0,
            }
        };
        let told = |place: u64, parent: u64, service: usize, query: bool, took: u64| {
            let told = self.told(n, (place, parent), service, query, failed && !query);
            let start = (at_us + place * 150) * 1000;
            (service, Span { start_time_unix_nano: start, end_time_unix_nano: start + took * 1000, ..told })
        };
        Request {
            records: vec![
                hop(0, None, None, entry, took),
                hop(2, Some(1), Some(entry), others[0], took / 3),
                hop(5, Some(1), Some(entry), others[1], took / 4),
            ],
            told: vec![
                told(1, 0, entry, false, took - 200),
                told(3, 2, others[0], false, took / 3 - 100),
                told(4, 3, others[0], true, 300),
                told(6, 5, others[1], false, took / 4 - 100),
                told(7, 6, others[1], true, 250),
            ],
        }
    }

    fn told(&self, n: u64, (place, parent): (u64, u64), service: usize, query: bool, failed: bool) -> Span {
        let name = SERVICES[service];
        let (name, kind, attributes) = if query {
            let attributes = vec![
                attribute("db.system.name", "sqlite"),
                attribute(
                    "db.query.text",
                    &format!("SELECT id, name, price, stock FROM {name} WHERE id = ? AND state = ?"),
                ),
                number("db.response.returned_rows", 1),
                number("madang.db.affected_rows", 0),
            ];
            (format!("SELECT {name}"), SpanKind::Client, attributes)
        } else {
            let attributes = vec![
                attribute("http.request.method", "GET"),
                attribute("url.path", &format!("/{name}/{}", n % 10_000)),
                attribute("http.route", &format!("/{name}/{{id}}")),
                attribute("madang.request_id", &format!("{:016x}", mixed(n ^ 0xabcd))),
                number("http.response.status_code", if failed { 503 } else { 200 }),
            ];
            (format!("GET /{name}/{{id}}"), SpanKind::Server, attributes)
        };
        let id = |place: u64| (mixed(n * SPANS + place) | 1).to_be_bytes().to_vec();
        let status = Status { message: "payments did not answer".to_owned(), code: StatusCode::Error.into() };
        Span {
            trace_id: trace_id(n).0.to_be_bytes().to_vec(),
            span_id: id(place),
            parent_span_id: id(parent),
            flags: 1,
            name,
            kind: kind.into(),
            attributes,
            status: failed.then_some(status),
            ..Span::default()
        }
    }
}

fn number(key: &str, number: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::IntValue(number)) });
    KeyValue { key: key.to_owned(), value }
}

/// What services send, each at once what it has: the service and the bytes.
pub fn exports(told: impl IntoIterator<Item = (usize, Span)>) -> Vec<(usize, Vec<u8>)> {
    let mut spans: Vec<Vec<Span>> = vec![Vec::new(); SERVICES.len()];
    told.into_iter().for_each(|(service, span)| spans[service].push(span));
    let sent = |(service, spans): (usize, Vec<Span>)| {
        let resource = Resource {
            attributes: vec![
                attribute("service.name", SERVICES[service]),
                attribute("telemetry.sdk.name", "madang"),
                attribute("telemetry.sdk.language", "rust"),
            ],
            ..Resource::default()
        };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let of_resource = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        (service, ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec())
    };
    spans.into_iter().enumerate().filter(|(_, spans)| !spans.is_empty()).map(sent).collect()
}
