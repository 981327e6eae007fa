//! Copies of requests to another service, whose answers nobody sees.
//!
//! A copy is made beside its request and never in its way: it has a client of its own, with connections and records of its
//! own, is left out where too many are under way or its body is too large, and is not tried again.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, request::Parts};
use http_body::{Body as _, Frame};
use madang_calls::{Body, Client, Context, Lane, Policy};
use madang_model::{ServiceName, edge::Mirror as Rule};
use madang_wire::headers;

use super::drain::drain;
use crate::tee::{Copying, tee};

const MIRROR: HeaderName = HeaderName::from_static(headers::MIRROR);

/// Where copies go, and how many are under way.
pub(crate) struct Mirror {
    rule: Rule,
    methods: Box<[Method]>,
    lane: Arc<Lane>,
    policy: Arc<Policy>,
    /// That of all copies to the service; found or made when the manifest comes into force.
    tally: OnceLock<Arc<Tally>>,
}

/// What became of copies; it stays when the manifest changes.
#[derive(Default)]
pub(crate) struct Tally {
    under_way: AtomicU32,
    sent: AtomicU64,
    left_out: AtomicU64,
}

/// What became of the copies of a scope since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStats {
    /// The service that gets them.
    pub to: String,
    /// Copies that are under way now, or wait for the body of their request.
    pub under_way: u32,
    /// Copies that were sent.
    pub sent: u64,
    /// Requests of which none was sent, because too many were under way or the body was too large.
    pub left_out: u64,
}

/// A copy of which the body is still to come. What broke off is no request.
struct Copy {
    mirror: Arc<Mirror>,
    client: Client,
    context: Context,
    head: Parts,
    came: BytesMut,
    _place: Place,
}

/// A place among those that are under way at once.
struct Place(Arc<Tally>);

impl Mirror {
    pub(crate) fn new(rule: &Rule, lane: Arc<Lane>, policy: Policy) -> Self {
        // Nobody waits for the answer, and a copy that fails is none.
        let policy = Policy { attempts: 1, hedge: None, fallback: None, ..policy };
        let methods = rule.methods.iter().filter_map(|method| method.parse().ok()).collect();
        Self { rule: rule.clone(), methods, lane, policy: Arc::new(policy), tally: OnceLock::new() }
    }

    pub(crate) fn to(&self) -> &ServiceName {
        &self.rule.to
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        self.tally.get_or_init(Arc::default)
    }

    /// Goes on with what was counted before.
    pub(crate) fn adopt(&self, tally: Arc<Tally>) {
        let _ = self.tally.set(tally);
    }

    pub(crate) fn stats(&self) -> MirrorStats {
        let Tally { under_way, sent, left_out } = &**self.tally();
        MirrorStats {
            to: self.rule.to.to_string(),
            under_way: under_way.load(Relaxed),
            sent: sent.load(Relaxed),
            left_out: left_out.load(Relaxed),
        }
    }

    /// Whether a request is copied; draws only if there is a choice.
    pub(crate) fn wants(&self, method: &Method, draw: impl FnOnce() -> u8) -> bool {
        self.methods.contains(method) && (self.rule.percent >= 100 || draw() < self.rule.percent)
    }

    /// Has a request copied: at once, or once its body has come. Returns the body to send on.
    pub(crate) fn copy(
        self: &Arc<Self>,
        client: impl FnOnce() -> Client,
        context: &Context,
        head: &Parts,
        body: Body,
    ) -> Body {
        let too_large = body.size_hint().lower() > self.rule.max_body;
        let Some(place) = (!too_large).then(|| self.place()).flatten() else {
            self.tally().left_out.fetch_add(1, Relaxed);
            return body;
        };
        let mut head = head.clone();
        head.headers.insert(MIRROR, HeaderValue::from_static("1"));
        // It is no request from outside over this route.
        let context = Context { route: None, idempotency_key: None, ..context.clone() };
        let (mirror, client, came) = (self.clone(), client(), BytesMut::new());
        tee(body, Copy { mirror, client, context, head, came, _place: place })
    }

    fn place(&self) -> Option<Place> {
        let taken = Place(self.tally().clone());
        // Counted first, so that two who come at once do not both get the last one.
        (self.tally().under_way.fetch_add(1, Relaxed) < self.rule.at_once).then_some(taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Copying for Copy {
    fn take(&mut self, frame: &Frame<Bytes>) -> bool {
        let Some(bytes) = frame.data_ref() else { return true };
        if (self.came.len() + bytes.len()) as u64 > self.mirror.rule.max_body {
            self.mirror.tally().left_out.fetch_add(1, Relaxed);
            return false;
        }
        self.came.extend_from_slice(bytes);
        true
    }

    fn ended(self) {
        self.mirror.tally().sent.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            let Self { mirror, client, context, head, came, _place } = self;
            let body = came.freeze().into();
            if let Ok(answer) = client.call_in(context, &mirror.lane, &mirror.policy, head, body).await {
                drain(answer.into_body()).await;
            }
        });
    }
}
