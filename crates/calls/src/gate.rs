//! Whether an instance may be tried after it refused a connection: by one call at a time, after a pause.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The pause after the first refusal; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

/// The bits of a gate's word: refusals in a row, whether a call is trying, and when it opens in milliseconds.
const REFUSALS: u32 = 49;
const TRIED: u64 = 1 << 48;
const OPENS: u64 = TRIED - 1;

/// Keeps calls from an instance that refuses connections. Open while it is zero, which is almost always.
///
/// Times are milliseconds on a clock of the owner's.
#[derive(Default)]
pub(crate) struct Gate(AtomicU64);

impl Gate {
    /// Whether any call may try, as nothing was refused.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// Whether a call may try now.
    pub(crate) fn open(&self, now: u64) -> bool {
        self.opens() <= now
    }

    /// When a call may try, if none may now.
    pub(crate) fn opens(&self) -> u64 {
        self.0.load(Relaxed) & OPENS
    }

    /// Lets a call try. After a refusal the gate closes behind the one that tries, so that an instance that has
    /// died is not flooded and the others wait for a better one.
    pub(crate) fn admit(&self, now: u64) -> bool {
        let word = self.0.load(Relaxed);
        if word == 0 {
            return true;
        }
        // If the one that tries is never heard of again, another may after the longest pause.
        let tried = (word & !OPENS) | TRIED | (now + LONGEST.as_millis() as u64);
        word & OPENS <= now && self.0.compare_exchange(word, tried, Relaxed, Relaxed).is_ok()
    }

    /// The instance was reached; whether it was not before.
    pub(crate) fn reached(&self) -> bool {
        self.0.load(Relaxed) != 0 && self.0.swap(0, Relaxed) != 0
    }

    /// The instance refused. Those that had been let in together count as one.
    pub(crate) fn refused(&self, now: u64) {
        let word = self.0.load(Relaxed);
        if word & TRIED == 0 && word & OPENS > now {
            return;
        }
        let refusals = (word >> REFUSALS).min(16);
        let pause = (FIRST * (1 << refusals)).min(LONGEST).as_millis() as u64;
        let next = ((refusals + 1) << REFUSALS) | (now + pause);
        // Whoever was faster has just closed it as well.
        let _ = self.0.compare_exchange(word, next, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_at_a_time_tries_after_growing_pauses() {
        let gate = Gate::default();
        assert!(gate.admit(0) && gate.admit(0));
        let mut now = 0;
        gate.refused(now);
        for pause in [25, 50, 100, 200, 400, 800, 1000, 1000] {
            assert!(!gate.admit(now + pause - 1), "{pause}");
            now += pause;
            assert!(gate.open(now) && gate.admit(now), "{pause}");
            assert!(!gate.admit(now), "a second call must wait for the first");
            gate.refused(now);
        }
        assert!(gate.reached() && !gate.reached());
        assert!(gate.admit(now) && gate.admit(now));
    }

    #[test]
    fn calls_refused_together_count_as_one() {
        let gate = Gate::default();
        (0..20).for_each(|_| gate.refused(5));
        assert!(!gate.admit(29) && gate.admit(30));
    }

    #[test]
    fn a_call_that_is_never_heard_of_again_does_not_close_it_for_ever() {
        let gate = Gate::default();
        gate.refused(0);
        assert!(gate.admit(25) && !gate.admit(1024) && gate.admit(1025));
    }
}
