//! Telemetry out: everything that comes goes on to a back end that speaks OTLP, beside what is kept here.
//!
//! - `queue`: what waits, within a bound;
//! - `export`: what is sent at once, and as which bytes;
//! - `records`: what hops saw, as spans of OTLP; `lines`: lines of log files, as its log records;
//! - `split`: what is too large for one export.
//!
//! Nothing waits for the back end but this. Where there is no room for more the oldest is dropped, and counted. An export
//! that the back end cannot take now is sent again, after a pause that doubles and that the back end may lengthen, until
//! `ForwardConfig::give_up`; one that it refuses is dropped, and counted too.

mod export;
pub(crate) mod lines;
mod queue;
mod records;
mod split;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use madang_wire::{
    RequestRecord,
    admin::ForwardView,
    otlp::{logs::v1::ResourceLogs, metrics::v1::ResourceMetrics, trace::v1::ResourceSpans},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use crate::{Scrape, otlp::Signal, prometheus};
use export::Export;
use queue::Queue;

/// How it is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardConfig {
    /// How much waits at most, in bytes.
    pub waiting: usize,
    /// How long what comes waits for more of its kind to be sent with it.
    pub gather: Duration,
    /// The first pause before an export is sent again, and the longest.
    pub pause: (Duration, Duration),
    /// How long one export is sent again at most.
    pub give_up: Duration,
    /// How long the end waits for what is still to be sent.
    pub last: Duration,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            waiting: 32 << 20,
            gather: Duration::from_millis(500),
            pause: (Duration::from_secs(1), Duration::from_secs(30)),
            give_up: Duration::from_secs(300),
            last: Duration::from_secs(3),
        }
    }
}

/// Carries exports to the back end.
pub trait Carrier: Send + Sync + 'static {
    /// Sends one: the bytes of its message, packed with gzip.
    fn carry(&self, signal: Signal, packed: Vec<u8>) -> BoxFuture<'_, Carried>;
}

/// What became of an export on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The back end has it, but for so many spans, records or data points, for a reason.
    Taken {
        /// So many.
        rejected: u64,
        /// The reason.
        why: String,
    },
    /// The back end cannot take it now, and says perhaps when it can.
    Later {
        /// Why not now.
        why: String,
        /// When.
        after: Option<Duration>,
    },
    /// It will never take it.
    Refused {
        /// Why not.
        why: String,
    },
}

/// What is to be forwarded. Clones share it.
#[derive(Clone)]
pub struct Forward {
    config: Arc<ForwardConfig>,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told when something came.
    came: Notify,
}

struct State {
    queue: Queue,
    /// What is being sent, which stays here until it is known what became of it.
    in_hand: Option<Arc<Export>>,
    view: ForwardView,
}

/// Something of one resource that is forwarded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Spans(ResourceSpans),
    Logs(ResourceLogs),
    Metrics(ResourceMetrics),
}

// === impl Forward ===

impl Forward {
    /// Forwards nothing before it runs. The back end is only told of by this name.
    pub fn new(to: impl Into<String>, config: ForwardConfig) -> Self {
        let view = ForwardView { to: to.into(), ..Default::default() };
        let state = Mutex::new(State { queue: Queue::new(config.waiting), in_hand: None, view });
        Self { config: Arc::new(config), shared: Arc::new(Shared { state, came: Notify::new() }) }
    }

    /// Takes what the hops saw of requests.
    pub fn records(&self, seen: &[RequestRecord]) {
        self.push(records::spans(seen).into_iter().map(Item::Spans));
    }

    /// Takes what Madang measures itself, at a moment in milliseconds since 1970.
    pub fn metrics(&self, scrape: &Scrape, at: u64) {
        self.push([Item::Metrics(prometheus::points(scrape, at))]);
    }

    /// Takes what is to be sent. Never waits.
    pub(crate) fn push(&self, items: impl IntoIterator<Item = Item>) {
        let mut state = self.state();
        let mut any = false;
        for item in items.into_iter().flat_map(split::split) {
            any = true;
            state.view.dropped += state.queue.push(item);
        }
        drop(state);
        if any {
            self.shared.came.notify_one();
        }
    }

    /// How it goes.
    pub fn view(&self) -> ForwardView {
        let state = self.state();
        let in_hand = state.in_hand.as_ref().map_or(0, |export| export.count);
        ForwardView { waiting: state.queue.count() + in_hand, ..state.view.clone() }
    }

    /// Sends what comes, until `shutdown` ends; what came by then is sent if the back end takes it soon. Tells
    /// `changed` when the back end stops to take anything, with the reason, and when it takes something again.
    pub async fn run(
        self,
        carrier: impl Carrier,
        random: impl Fn() -> f64,
        changed: impl Fn(Option<&str>),
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::select! {
            () = shutdown => {}
            () = self.send_what_comes(&carrier, &random, &changed) => {}
        }
        let last = self.send_all(&carrier, &random, &changed);
        if timeout(self.config.last, last).await.is_err() {
            let left = self.view().waiting;
            warn!(left, "the rest of the telemetry is not forwarded: the back end does not take it");
        }
    }

    async fn send_what_comes(
        &self,
        carrier: &impl Carrier,
        random: &impl Fn() -> f64,
        changed: &impl Fn(Option<&str>),
    ) {
        loop {
            self.shared.came.notified().await;
            sleep(self.config.gather).await;
            self.send_all(carrier, random, changed).await;
        }
    }

    async fn send_all(
        &self,
        carrier: &impl Carrier,
        random: &impl Fn() -> f64,
        changed: &impl Fn(Option<&str>),
    ) {
        loop {
            let Some(export) = self.next() else { return };
            self.send(&export, carrier, random, changed).await;
            self.state().in_hand = None;
        }
    }

    /// What is to be sent next: what was being sent if that did not come to its end.
    fn next(&self) -> Option<Arc<Export>> {
        let items = {
            let mut state = self.state();
            if state.in_hand.is_some() {
                return state.in_hand.clone();
            }
            state.queue.take(export::LARGEST)?
        };
        let export = Arc::new(Export::of(items));
        self.state().in_hand = Some(export.clone());
        Some(export)
    }

    /// Sends one export, and again as long as that may help.
    async fn send(
        &self,
        export: &Export,
        carrier: &impl Carrier,
        random: &impl Fn() -> f64,
        changed: &impl Fn(Option<&str>),
    ) {
        let (began, (mut pause, longest)) = (Instant::now(), self.config.pause);
        loop {
            let wait = match carrier.carry(export.signal, export.packed.clone()).await {
                Carried::Taken { rejected, why } => {
                    let sent = export.count.saturating_sub(rejected);
                    self.settled(sent, rejected, (rejected > 0).then_some(why.as_str()), changed);
                    return;
                }
                Carried::Refused { why } => {
                    self.settled(0, export.count, Some(&why), changed);
                    return;
                }
                Carried::Later { why, after } => {
                    if began.elapsed() >= self.config.give_up {
                        self.settled(0, export.count, Some(&why), changed);
                        return;
                    }
                    self.trouble(Some(&why), changed);
                    after
                        .unwrap_or_default()
                        .min(self.config.give_up)
                        .max(pause.mul_f64(0.8 + 0.4 * random()))
                }
            };
            sleep(wait).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// An export came to its end.
    fn settled(&self, sent: u64, refused: u64, why: Option<&str>, changed: &impl Fn(Option<&str>)) {
        {
            let mut state = self.state();
            state.view.sent += sent;
            state.view.refused += refused;
            if let Some(why) = why {
                state.view.refusal = Some(why.to_owned());
            }
        }
        self.trouble(why.filter(|_| sent == 0), changed);
    }

    /// Says what the back end's trouble is now, if that is news.
    fn trouble(&self, trouble: Option<&str>, changed: &impl Fn(Option<&str>)) {
        let before = std::mem::replace(&mut self.state().view.trouble, trouble.map(str::to_owned));
        if before.is_some() != trouble.is_some() {
            changed(trouble);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
