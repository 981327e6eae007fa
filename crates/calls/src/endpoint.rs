//! One instance as its callers see it: what all workers know of it, as atomics on one handle.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use madang_model::{InstanceId, Protocol, ReleaseId};
use madang_wire::service;
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};

use crate::{Elsewhere, balance::Latency, ejection::Health, gate::Gate};

/// Numbers endpoints, so that a pool finds its connections without hashing a name.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// One instance of a service.
pub(crate) struct Endpoint {
    pub(crate) number: u64,
    pub(crate) instance: InstanceId,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) release: Option<ReleaseId>,
    /// Present if it is a server of a service that runs elsewhere.
    pub(crate) elsewhere: Option<Arc<Elsewhere>>,
    pub(crate) latency: Latency,
    pub(crate) health: Health,
    born: Instant,
    in_rotation: AtomicBool,
    in_flight: AtomicU32,
    /// Those of them whose answer goes on until somebody leaves.
    streams: AtomicU32,
    /// Told when a request ends at one that has left rotation.
    ended: Notify,
    connections: AtomicUsize,
    waiting: AtomicUsize,
    /// Told when a connection ends or is free again while somebody waits for one.
    pub(crate) freed: Notify,
    /// Held while a shared connection is made.
    pub(crate) dialling: Mutex<()>,
    gate: Gate,
}

/// A request that an instance has not answered to the end.
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
    streams: bool,
}

/// A connection counted against an instance's limit.
pub(crate) struct Slot(Arc<Endpoint>);

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(given: service::Endpoint, elsewhere: Option<Arc<Elsewhere>>) -> Arc<Self> {
        let service::Endpoint { instance, address, protocol, release } = given;
        Arc::new(Self {
            number: NUMBER.fetch_add(1, Relaxed),
            instance,
            address,
            protocol,
            release,
            elsewhere,
            latency: Latency::default(),
            health: Health::new(),
            born: Instant::now(),
            in_rotation: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            ended: Notify::new(),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            dialling: Mutex::new(()),
            gate: Gate::default(),
        })
    }

    /// Whether new requests may go to it.
    pub(crate) fn in_rotation(&self) -> bool {
        self.in_rotation.load(Relaxed)
    }

    pub(crate) fn leave_rotation(&self) {
        self.in_rotation.store(false, SeqCst);
        self.freed.notify_waiters();
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { endpoint: self.clone(), streams: false }
    }

    /// Resolves once every request at one that has left rotation has been answered to its end, but for streams.
    pub(crate) async fn quiet(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            // Whoever ends after this was read sees that the rotation was left before it.
            if self.in_flight.load(SeqCst) <= self.streams.load(SeqCst) {
                return;
            }
            ended.await;
        }
    }

    fn tell_ended(&self) {
        if !self.in_rotation.load(SeqCst) {
            self.ended.notify_waiters();
        }
    }

    /// What a request more would cost, for comparing instances.
    pub(crate) fn cost(&self, now: Instant) -> f32 {
        self.latency.cost(self.age(now) as u32, self.in_flight())
    }

    /// Takes an answer's time, measured to its head, into the average.
    pub(crate) fn observe(&self, took: Duration, now: Instant) {
        self.latency.observe(took, self.age(now) as u32);
    }

    /// Takes it in that an answer was none.
    pub(crate) fn penalize(&self, took: Duration, now: Instant) {
        self.latency.penalize(took, self.age(now) as u32);
    }

    /// An answer that nobody waits for any more took at least so long.
    pub(crate) fn exceeded(&self, took: Duration, now: Instant) {
        if took.as_micros() as f32 > self.latency.cost(self.age(now) as u32, 0) {
            self.observe(took, now);
        }
    }

    /// Whether a call may try it now.
    pub(crate) fn reachable(&self, now: Instant) -> bool {
        self.gate.open(self.age(now))
    }

    /// Lets a call try it.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        // The time is needed only if it was refused lately.
        self.gate.is_open() || self.gate.admit(self.age(now))
    }

    /// When a call may try it again, if none may now.
    pub(crate) fn opens(&self) -> Instant {
        self.born + Duration::from_millis(self.gate.opens())
    }

    /// It answers or accepts a connection; whether it did not before.
    pub(crate) fn reached(&self) -> bool {
        self.gate.reached()
    }

    /// It refused a connection.
    pub(crate) fn refused(&self, now: Instant) {
        self.gate.refused(self.age(now));
    }

    /// Milliseconds since it was born.
    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_millis() as u64
    }

    /// A place for one more connection, if the limit over all workers leaves one.
    pub(crate) fn slot(self: &Arc<Self>, limit: usize) -> Option<Slot> {
        if self.connections.fetch_add(1, Relaxed) < limit {
            return Some(Slot(self.clone()));
        }
        self.connections.fetch_sub(1, Relaxed);
        None
    }

    /// Waits until a connection may be free; `None` if as many wait already.
    pub(crate) fn wait_for_slot(&self, limit: usize) -> Option<Waiting<'_>> {
        let waiting = Waiting(self);
        (self.waiting.fetch_add(1, Relaxed) < limit).then_some(waiting)
    }

    /// Says that a connection ended or is free.
    pub(crate) fn free_slot(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.freed.notify_one();
        }
    }

    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

/// A call that waits for a connection.
pub(crate) struct Waiting<'a>(&'a Endpoint);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl InFlight {
    /// The instance.
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Its answer goes on until somebody leaves: nobody waits for its end.
    pub(crate) fn streams(&mut self) {
        if !std::mem::replace(&mut self.streams, true) {
            self.endpoint.streams.fetch_add(1, SeqCst);
            self.endpoint.tell_ended();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, SeqCst);
        if self.streams {
            self.endpoint.streams.fetch_sub(1, SeqCst);
        }
        self.endpoint.tell_ended();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.free_slot();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        let address = ([127, 0, 0, 1], 1).into();
        let instance = InstanceId("a-1".into());
        Endpoint::new(service::Endpoint { instance, address, protocol: Protocol::Http, release: None }, None)
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_limited_over_all_who_hold_the_handle() {
        let endpoint = endpoint();
        let held: Vec<_> = (0..3).map_while(|_| endpoint.slot(2)).collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert_eq!(endpoint.connections(), 0);
    }
}
