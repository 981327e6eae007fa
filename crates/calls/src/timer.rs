//! The coarse timer that all calls of one client share.
//!
//! A hashed timing wheel (Varghese and Lauck 1987, scheme 6): slots of 10 ms, entries in linked lists over a
//! slab, so that setting and cancelling take constant time and memory is bounded by the entries set at once.
//! One task sleeps until the next occupied slot, so that paused time moves in the same steps as real time.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The length of a slot: nothing fires early, and nothing later than this.
pub(crate) const STEP: Duration = Duration::from_millis(10);

const SLOTS: usize = 1024;
const NONE: u32 = u32::MAX;

/// A coarse timer; its task ends when it is dropped.
pub(crate) struct Timer(Arc<Shared>);

struct Shared {
    start: Instant,
    wheel: Mutex<Wheel>,
    /// Tells the task that something fires before it meant to look again.
    sooner: Notify,
}

/// Completes once its time has come; may be set anew.
pub(crate) struct Sleep {
    shared: Arc<Shared>,
    due: Instant,
    /// The place in the slab, from the first poll that had to wait.
    entry: Option<u32>,
}

struct Wheel {
    slots: Box<[u32]>,
    occupied: [u64; SLOTS / 64],
    entries: Vec<Entry>,
    free: u32,
    /// The first tick not yet looked at.
    next: u64,
    /// The tick at which the task looks again.
    planned: u64,
    closed: bool,
}

struct Entry {
    tick: u64,
    waker: Option<Waker>,
    before: u32,
    after: u32,
    fired: bool,
}

// === impl Timer ===

impl Timer {
    /// A timer whose task runs on the current runtime.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            wheel: Mutex::new(Wheel::new()),
            sooner: Notify::new(),
        });
        tokio::spawn(drive(shared.clone()));
        Self(shared)
    }

    /// Completes at this time, or up to one [`STEP`] later.
    pub(crate) fn sleep_until(&self, due: Instant) -> Sleep {
        Sleep { shared: self.0.clone(), due, entry: None }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.wheel().closed = true;
        self.0.sooner.notify_one();
    }
}

async fn drive(shared: Arc<Shared>) {
    let mut fired = Vec::new();
    loop {
        let next = {
            let elapsed = shared.start.elapsed().as_millis() / STEP.as_millis();
            let mut wheel = shared.wheel();
            if wheel.closed {
                return;
            }
            wheel.advance(elapsed as u64, &mut fired);
            wheel.planned = wheel.next_occupied();
            wheel.planned
        };
        fired.drain(..).for_each(Waker::wake);
        if next == u64::MAX {
            shared.sooner.notified().await;
        } else {
            let at = shared.start + STEP * u32::try_from(next).unwrap_or(u32::MAX);
            tokio::select! {
                () = sleep_until(at) => {}
                () = shared.sooner.notified() => {}
            }
        }
    }
}

// === impl Sleep ===

impl Sleep {
    /// Sets it anew.
    pub(crate) fn reset(&mut self, due: Instant) {
        self.due = due;
        self.cancel();
    }

    fn cancel(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.shared.wheel().remove(entry);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared.clone();
        let mut wheel = shared.wheel();
        if let Some(entry) = self.entry {
            return wheel.poll(entry, cx);
        }
        let tick = shared.tick_after(self.due);
        if tick < wheel.next {
            return Poll::Ready(());
        }
        self.entry = Some(wheel.insert(tick, cx.waker().clone()));
        let sooner = tick < wheel.planned;
        drop(wheel);
        if sooner {
            shared.sooner.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

// === impl Shared ===

impl Shared {
    fn wheel(&self) -> MutexGuard<'_, Wheel> {
        // Nothing panics while it is held, and its lists would be whole if it did.
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first tick that is not before this time.
    fn tick_after(&self, due: Instant) -> u64 {
        let nanos = due.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanos.div_ceil(STEP.as_nanos())).unwrap_or(u64::MAX - 1)
    }
}

// === impl Wheel ===

impl Wheel {
    fn new() -> Self {
        Self {
            slots: vec![NONE; SLOTS].into(),
            occupied: [0; SLOTS / 64],
            entries: Vec::new(),
            free: NONE,
            next: 0,
            planned: 0,
            closed: false,
        }
    }

    fn insert(&mut self, tick: u64, waker: Waker) -> u32 {
        let slot = tick as usize % SLOTS;
        let head = self.slots[slot];
        let entry = Entry { tick, waker: Some(waker), before: NONE, after: head, fired: false };
        let index = if self.free == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].after;
            self.entries[index as usize] = entry;
            index
        };
        if head != NONE {
            self.entries[head as usize].before = index;
        }
        self.slots[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        index
    }

    fn poll(&mut self, index: u32, cx: &Context<'_>) -> Poll<()> {
        let entry = &mut self.entries[index as usize];
        if entry.fired {
            return Poll::Ready(());
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn remove(&mut self, index: u32) {
        if !self.entries[index as usize].fired {
            self.unlink(index);
        }
        let entry = &mut self.entries[index as usize];
        entry.waker = None;
        entry.after = self.free;
        self.free = index;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { tick, before, after, .. } = self.entries[index as usize];
        if after != NONE {
            self.entries[after as usize].before = before;
        }
        if before != NONE {
            self.entries[before as usize].after = after;
            return;
        }
        let slot = tick as usize % SLOTS;
        self.slots[slot] = after;
        if after == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// Fires whatever is due up to and with this tick.
    fn advance(&mut self, now: u64, fired: &mut Vec<Waker>) {
        let ticks = (now + 1).saturating_sub(self.next).min(SLOTS as u64);
        for tick in now + 1 - ticks..=now {
            let mut index = self.slots[tick as usize % SLOTS];
            while index != NONE {
                let after = self.entries[index as usize].after;
                if self.entries[index as usize].tick <= now {
                    self.unlink(index);
                    let entry = &mut self.entries[index as usize];
                    entry.fired = true;
                    fired.extend(entry.waker.take());
                }
                index = after;
            }
        }
        self.next = self.next.max(now + 1);
    }

    /// The next tick whose slot holds anything, perhaps of a later round; `u64::MAX` if none does.
    fn next_occupied(&self) -> u64 {
        let first = self.next as usize % SLOTS;
        for step in 0..=SLOTS / 64 {
            let word = (first / 64 + step) % (SLOTS / 64);
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (first % 64);
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return self.next + ((slot + SLOTS - first) % SLOTS) as u64;
            }
        }
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn poll_once(sleep: &mut Sleep) -> Poll<()> {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *sleep).poll(cx))).await
    }

    impl Timer {
        fn held(&self) -> usize {
            self.0.wheel().entries.len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fires_never_early_and_at_most_one_step_late() {
        let timer = Timer::start();
        for millis in [0, 1, 9, 10, 11, 999, 10_239, 10_240, 10_241, 300_007] {
            let before = Instant::now();
            let wanted = Duration::from_millis(millis);
            timer.sleep_until(before + wanted).await;
            let took = before.elapsed();
            assert!(took >= wanted && took <= wanted + STEP, "{wanted:?} took {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sooner_entry_wakes_the_task_that_sleeps_for_a_later_one() {
        let timer = Timer::start();
        let begin = Instant::now();
        let mut late = timer.sleep_until(begin + Duration::from_secs(60));
        assert!(poll_once(&mut late).await.is_pending());
        tokio::task::yield_now().await;
        timer.sleep_until(begin + Duration::from_millis(20)).await;
        assert!(begin.elapsed() <= Duration::from_millis(30));
        late.await;
        assert!(begin.elapsed() >= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_by_what_is_set_at_once() {
        let timer = Timer::start();
        for _ in 0..1000 {
            let due = Instant::now() + Duration::from_secs(15);
            let mut both = [timer.sleep_until(due), timer.sleep_until(due)];
            assert!(poll_once(&mut both[0]).await.is_pending());
            assert!(poll_once(&mut both[1]).await.is_pending());
            both[0].reset(due + STEP);
        }
        assert!(timer.held() <= 2, "{}", timer.held());
    }

    /// Against the naive list of what is set, over many rounds of the wheel.
    #[tokio::test(start_paused = true)]
    async fn agrees_with_a_list() {
        let timer = Timer::start();
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut held: Vec<Sleep> = Vec::new();
        for _ in 0..3000 {
            let now = Instant::now();
            for sleep in &mut held {
                let done = poll_once(sleep).await.is_ready();
                assert!(!done || sleep.due <= now, "early");
                assert!(done || sleep.due + STEP > now, "late by {:?}", now - sleep.due);
            }
            held.retain(|sleep| sleep.due + STEP > now);
            if held.len() > 20 {
                let victim = random(held.len() as u64) as usize;
                held.swap_remove(victim);
            }
            let mut fresh = timer.sleep_until(now + Duration::from_millis(random(25_000)));
            let _ = poll_once(&mut fresh).await;
            held.push(fresh);
            tokio::time::sleep(Duration::from_millis(random(300))).await;
        }
    }
}
