//! Permits for calls at once, a limit that may change at any time, and a bounded queue of those who wait.
//!
//! One for each service and one for each lane that a limit is given for. A free permit costs one atomic
//! exchange; the lock is taken only where somebody waits or must. What is given up goes to whoever has waited
//! longest among those that matter most.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use madang_model::policy::{Concurrency, Limit, Priority};
use madang_wire::admin::LimitView;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Origin,
    gradient::{Gradient, Took},
};

/// One call that waits, in the word that counts those that wait and those that have a permit.
const WAITS: u64 = 1 << 32;

/// Limits calls at once.
#[derive(Default)]
pub(crate) struct Limiter {
    /// Calls that wait in the upper half, permits in use in the lower. Those that wait change only under the
    /// lock of the queue; that both share a word is what keeps a permit from being given up unnoticed.
    counts: AtomicU64,
    /// What is in force; zero before the first call.
    limit: AtomicU32,
    queue: Mutex<Queue>,
    gradient: Mutex<Gradient>,
    shed: [AtomicU64; 3],
}

/// Those who wait, by the order in which they came.
#[derive(Default)]
struct Queue {
    next: u64,
    critical: BTreeMap<u64, oneshot::Sender<Permit>>,
    normal: BTreeMap<u64, oneshot::Sender<Permit>>,
}

/// Leave to make one call; given up when it is dropped.
pub(crate) struct Permit(Arc<Limiter>);

/// A place in the queue: completes with a permit, or with none if it had to give way to a call that matters
/// more. Dropped, it hands on a permit that it got and did not take.
pub(crate) struct Turn {
    limiter: Arc<Limiter>,
    number: u64,
    permit: oneshot::Receiver<Permit>,
}

/// What a call gets that asks for a permit.
pub(crate) enum Entry {
    /// A permit.
    Admitted(Permit),
    /// A place in the queue.
    Queued(Turn),
    /// Nothing: there is no room for it.
    Shed,
}

// === impl Limiter ===

impl Limiter {
    /// Asks for a permit under this limit, which is in force from now on.
    pub(crate) fn enter(self: &Arc<Self>, limits: &Concurrency, priority: Priority) -> Entry {
        self.configure(limits.limit);
        if let Some(permit) = self.take(priority, false) {
            return Entry::Admitted(permit);
        }
        let turn = match priority {
            Priority::BestEffort => None,
            _ => match self.line_up(limits, priority) {
                Ok(turn) => turn,
                Err(permit) => return Entry::Admitted(permit),
            },
        };
        if turn.is_none() {
            self.shed(priority);
        }
        turn.map_or(Entry::Shed, Entry::Queued)
    }

    /// Counts a call that was refused or gave up waiting.
    pub(crate) fn shed(&self, priority: Priority) {
        self.shed[priority as usize].fetch_add(1, Relaxed);
    }

    /// A place in the queue, if there is one; or a permit after all.
    fn line_up(self: &Arc<Self>, limits: &Concurrency, priority: Priority) -> Result<Option<Turn>, Permit> {
        let mut queue = self.queue();
        let room = match priority {
            Priority::Critical => queue.len() < limits.queue as usize || queue.give_way(self),
            _ => {
                queue.normal.len() < limits.queue.div_ceil(2) as usize && queue.len() < limits.queue as usize
            }
        };
        let counts = |counts: u64| {
            let free = waiting(counts) == 0 && in_use(counts) < self.limit.load(Relaxed);
            (!free && room).then_some(counts + WAITS)
        };
        loop {
            // Nobody can give up a permit between this and the place in the queue, and not see it.
            if self.counts.fetch_update(Relaxed, Relaxed, counts).is_ok() {
                break;
            }
            match self.take(priority, false) {
                Some(permit) => return Err(permit),
                None if !room => return Ok(None),
                None => {}
            }
        }
        let (sender, permit) = oneshot::channel();
        let number = queue.next;
        queue.next += 1;
        queue.of(priority).insert(number, sender);
        Ok(Some(Turn { limiter: self.clone(), number, permit }))
    }

    /// A permit, if one is free and nobody waits for it, or for whom it is handed on.
    fn take(self: &Arc<Self>, priority: Priority, handed_on: bool) -> Option<Permit> {
        let limit = self.limit.load(Relaxed);
        let most = match priority {
            Priority::BestEffort => limit - limit / 5,
            Priority::Normal | Priority::Critical => limit,
        };
        let counts = |counts: u64| {
            let free = in_use(counts) < most && (handed_on || waiting(counts) == 0);
            free.then_some(counts + 1)
        };
        self.counts.fetch_update(Relaxed, Relaxed, counts).is_ok().then(|| Permit(self.clone()))
    }

    /// Hands free permits to those who wait.
    fn hand_on(self: &Arc<Self>) {
        // Dropped after the lock. There are none, because whoever waits leaves the queue before it goes.
        let mut unclaimed = Vec::new();
        let mut queue = self.queue();
        while queue.len() > 0 {
            let Some(permit) = self.take(Priority::Critical, true) else { return };
            let next = queue.critical.pop_first().or_else(|| queue.normal.pop_first());
            self.counts.fetch_sub(WAITS, Relaxed);
            unclaimed.extend(next.and_then(|(_, waiter)| waiter.send(permit).err()));
        }
    }

    /// Puts a limit in force.
    fn configure(self: &Arc<Self>, limit: Limit) {
        let now = self.limit.load(Relaxed);
        let settled = match limit {
            Limit::Fixed(limit) => now == limit.max(1),
            Limit::Adaptive { least, most } => (least.max(1)..=most.max(least).max(1)).contains(&now),
        };
        if !settled {
            let limit = match limit {
                Limit::Fixed(limit) => limit.max(1),
                Limit::Adaptive { least, most } => {
                    self.gradient.lock().unwrap_or_else(PoisonError::into_inner).limit(least, most)
                }
            };
            self.set(limit);
        }
    }

    fn set(self: &Arc<Self>, limit: u32) {
        let before = {
            // Under the lock, so that nobody lines up for what the new limit leaves free.
            let _queue = self.queue();
            self.limit.swap(limit, Relaxed)
        };
        if limit > before {
            self.hand_on();
        }
    }

    /// Learns from how long a call took, if the limit is one that adapts.
    pub(crate) fn observe(self: &Arc<Self>, limit: Limit, took: Took, now: Instant) {
        let Limit::Adaptive { least, most } = limit else { return };
        // There are so many that one more or less does not matter, where waiting would.
        let Ok(mut gradient) = self.gradient.try_lock() else { return };
        if gradient.observe(took, self.in_use(), now) {
            let limit = gradient.limit(least, most);
            drop(gradient);
            self.set(limit);
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    pub(crate) fn in_use(&self) -> u32 {
        in_use(self.counts.load(Relaxed))
    }

    pub(crate) fn waiting(&self) -> u32 {
        waiting(self.counts.load(Relaxed))
    }

    /// What it holds and what it refused; `None` if nobody ever asked it.
    pub(crate) fn view(&self, origin: Option<&Origin>) -> Option<LimitView> {
        let [shed_best_effort, shed_normal, shed_critical] =
            self.shed.each_ref().map(|shed| shed.load(Relaxed));
        (self.limit() > 0).then(|| LimitView {
            origin: origin.map(ToString::to_string),
            limit: self.limit(),
            in_use: self.in_use(),
            queued: self.waiting(),
            shed_best_effort,
            shed_normal,
            shed_critical,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under it panics half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_use(counts: u64) -> u32 {
    counts as u32
}

fn waiting(counts: u64) -> u32 {
    (counts >> 32) as u32
}

// === impl Queue ===

impl Queue {
    fn len(&self) -> usize {
        self.critical.len() + self.normal.len()
    }

    fn of(&mut self, priority: Priority) -> &mut BTreeMap<u64, oneshot::Sender<Permit>> {
        match priority {
            Priority::Critical => &mut self.critical,
            Priority::Normal | Priority::BestEffort => &mut self.normal,
        }
    }

    /// Lets the last of those that matter less go, for a critical call; whether there was one.
    fn give_way(&mut self, limiter: &Limiter) -> bool {
        let Some(_last) = self.normal.pop_last() else { return false };
        limiter.counts.fetch_sub(WAITS, Relaxed);
        limiter.shed(Priority::Normal);
        true
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.0.counts.fetch_sub(1, Relaxed);
        if waiting(before) > 0 {
            self.0.hand_on();
        }
    }
}

// === impl Turn ===

impl Future for Turn {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        Pin::new(&mut self.permit).poll(cx).map(Result::ok)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.limiter.queue();
        let left = queue.critical.remove(&self.number).or_else(|| queue.normal.remove(&self.number));
        if left.is_some() {
            self.limiter.counts.fetch_sub(WAITS, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
