//! Spans on their way out: twice a second, what waits is sent. What is not taken is tried again for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use madang_calls::BoxError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    encode,
    queue::Queue,
    send::{Sender, Unsent},
    settings::Settings,
};
use crate::error::chain;

/// About how many spans are sent at once.
const MOST: usize = 512;
/// The first pause after a failure; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long spans are tried to be sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Spans that nobody will see.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// There was no room for them.
    pub(super) overflow: AtomicU64,
    /// The receiver was away for too long.
    pub(super) unsent: AtomicU64,
    /// The receiver refused them.
    pub(super) refused: AtomicU64,
}

/// Sends spans.
pub(super) struct Exporter {
    queue: Arc<Queue>,
    sender: Sender,
    resource: Vec<(String, String)>,
    pause: Duration,
    waiting: Option<Waiting>,
    losses: Arc<Losses>,
    failing: bool,
}

/// A message that was not taken yet.
struct Waiting {
    message: Bytes,
    spans: u64,
    since: Instant,
    not_before: Instant,
    pause: Duration,
}

// === impl Exporter ===

impl Exporter {
    /// None if spans go nowhere.
    pub(super) fn new(settings: &Settings, queue: Arc<Queue>, losses: Arc<Losses>) -> Option<Self> {
        let sender = Sender::new(settings.traces.clone()?, settings.limits.timeout);
        let (resource, pause) = (settings.resource.clone(), settings.limits.pause);
        Some(Self { queue, sender, resource, pause, waiting: None, losses, failing: false })
    }

    /// Sends until this is `over`, and then what is left.
    pub(super) async fn run(mut self, over: CancellationToken) {
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = over.cancelled() => true,
                _ = ticks.tick() => false,
            };
            self.deliver(last).await;
            if last {
                return;
            }
        }
    }

    /// Sends what waits, as long as it is taken.
    async fn deliver(&mut self, last: bool) {
        let now = Instant::now();
        if self.waiting.as_ref().is_some_and(|waiting| waiting.not_before > now && !last) {
            return;
        }
        while let Some(mut waiting) = self.waiting.take().or_else(|| self.next()) {
            match self.sender.send(waiting.message.clone()).await {
                Ok(refused) => {
                    self.losses.refused.fetch_add(refused, Relaxed);
                    self.recovered();
                }
                Err(Unsent::Never(error)) => {
                    self.failed(&error);
                    self.losses.refused.fetch_add(waiting.spans, Relaxed);
                }
                Err(Unsent::Later(error, _)) if waiting.since.elapsed() > PATIENCE || last => {
                    self.failed(&error);
                    self.losses.unsent.fetch_add(waiting.spans, Relaxed);
                    return;
                }
                Err(Unsent::Later(error, after)) => {
                    self.failed(&error);
                    let pause = after.unwrap_or(waiting.pause).min(LONGEST_PAUSE);
                    // Jitter, so that not all processes come back at once.
                    waiting.not_before = Instant::now() + pause.mul_f64(rand::random_range(0.5..=1.0));
                    waiting.pause = (waiting.pause * 2).min(LONGEST_PAUSE);
                    self.waiting = Some(waiting);
                    return;
                }
            }
        }
    }

    fn next(&mut self) -> Option<Waiting> {
        self.losses.overflow.fetch_add(self.queue.dropped(), Relaxed);
        let groups = self.queue.take(MOST);
        if groups.is_empty() {
            return None;
        }
        let spans = groups.iter().map(|group| group.spans.len() as u64).sum();
        let message = encode::traces(&groups, &self.resource).into();
        let now = Instant::now();
        Some(Waiting { message, spans, since: now, not_before: now, pause: PAUSE })
    }

    fn failed(&mut self, error: &BoxError) {
        if !self.failing {
            let error = chain(error.as_ref());
            tracing::warn!(error, "spans are not taken; they are tried again for a while, and then dropped");
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        if self.failing {
            let unsent = self.losses.unsent.load(Relaxed) + self.losses.overflow.load(Relaxed);
            tracing::info!(unsent, "spans are taken again");
        }
        self.failing = false;
    }
}
