//! What was counted of answers lately, at an instance or over a service: failures in a row, and how many failed
//! or were slow.

use std::{
    fmt,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Seconds that are kept: the longest window.
const SECONDS: usize = 64;

/// The bits of a second's word: which second it is, and how many answers were slow, how many failed and how many
/// there were.
const BITS: u32 = 14;
const COUNT: u64 = (1 << BITS) - 1;
const FAILED: u64 = 1 << BITS;
const SLOW: u64 = 1 << (2 * BITS);
const SECOND: u32 = 3 * BITS;
const LAST: u64 = u64::MAX >> SECOND;
/// A second counts no more than this, which leaves the workers that count at once room in its word.
const FULL: u64 = COUNT - 1023;

/// Answers of the last minute, a word a second, so that no lock is needed and a word is always whole.
pub(crate) struct Tally {
    born: Instant,
    streak: AtomicU32,
    /// When it began anew, in milliseconds since it was born.
    since: AtomicU64,
    seconds: [AtomicU64; SECONDS],
}

/// The time over which what was counted is shown.
pub(crate) const SHOWN: Duration = Duration::from_secs(10);

/// One moment on both clocks: to show when something was, or will be.
pub(crate) struct Clock {
    pub(crate) now: Instant,
    unix: u64,
}

/// What is borne.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many failures in a row are too many.
    pub(crate) failures: u32,
    /// The most failures, in percent.
    pub(crate) failure_rate: u8,
    /// The most slow answers, in percent; 100 means any.
    pub(crate) slow_rate: u8,
    /// What is slow.
    pub(crate) slow: Duration,
    /// The time over which rates are counted: at most 64 s.
    pub(crate) window: Duration,
    /// The answers below which rates say nothing.
    pub(crate) minimum: u32,
}

/// How one attempt went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) failed: bool,
    pub(crate) began: Instant,
    /// To the head of the answer.
    pub(crate) took: Duration,
    pub(crate) now: Instant,
}

/// How many answers there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) answers: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

/// Why it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    InARow(u32),
    Failed(Sums),
    Slow(Sums),
    Probe,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            streak: AtomicU32::new(0),
            since: AtomicU64::new(0),
            seconds: [const { AtomicU64::new(0) }; SECONDS],
        }
    }

    /// Counts an answer; the reason, if it was one too many. What began before the count began anew and went
    /// wrong belongs to the time before.
    pub(crate) fn count(&self, limits: &Limits, outcome: &Outcome) -> Option<Reason> {
        let slow = limits.slow(outcome);
        if !outcome.failed && !slow {
            self.add(outcome.now, 1);
            self.ends_streak();
            return None;
        }
        if self.millis(outcome.began) < self.since.load(Relaxed) {
            return None;
        }
        self.add(outcome.now, 1 + u64::from(outcome.failed) * FAILED + u64::from(slow) * SLOW);
        if outcome.failed {
            let streak = self.streak.fetch_add(1, Relaxed).saturating_add(1);
            if streak >= limits.failures {
                return Some(Reason::InARow(streak));
            }
        } else {
            self.ends_streak();
        }
        let sums = self.sums(limits.window, outcome.now);
        let beyond = |part: u32, most: u8| u64::from(part) * 100 > u64::from(most) * u64::from(sums.answers);
        match () {
            () if sums.answers < limits.minimum => None,
            () if beyond(sums.failed, limits.failure_rate) => Some(Reason::Failed(sums)),
            () if beyond(sums.slow, limits.slow_rate) => Some(Reason::Slow(sums)),
            () => None,
        }
    }

    fn ends_streak(&self) {
        // Almost always there is none; then nothing is written that other workers would have to read again.
        if self.streak.load(Relaxed) != 0 {
            self.streak.store(0, Relaxed);
        }
    }

    fn add(&self, now: Instant, what: u64) {
        let second = self.second(now);
        let slot = &self.seconds[second as usize % SECONDS];
        let mut word = slot.load(Relaxed);
        // A worker that is late counts into the second in which others are already.
        while older(word, second) {
            match slot.compare_exchange_weak(word, (second << SECOND) | what, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        if word & COUNT < FULL {
            slot.fetch_add(what, Relaxed);
        }
    }

    /// What was counted over the last seconds, this one included.
    pub(crate) fn sums(&self, window: Duration, now: Instant) -> Sums {
        let second = self.second(now);
        let last = window.as_millis().div_ceil(1000).clamp(1, SECONDS as u128) as u64;
        let mut sums = Sums::default();
        for age in 0..last.min(second + 1) {
            let at = second - age;
            let word = self.seconds[at as usize % SECONDS].load(Relaxed);
            if word >> SECOND == at & LAST {
                sums.answers += (word & COUNT) as u32;
                sums.failed += (word >> BITS & COUNT) as u32;
                sums.slow += (word >> (2 * BITS) & COUNT) as u32;
            }
        }
        sums
    }

    /// Failures in a row.
    pub(crate) fn streak(&self) -> u32 {
        self.streak.load(Relaxed)
    }

    /// Forgets everything.
    pub(crate) fn begin_anew(&self, now: Instant) {
        self.since.store(self.millis(now), Relaxed);
        self.seconds.iter().for_each(|second| second.store(0, Relaxed));
        self.streak.store(0, Relaxed);
    }

    /// When it began anew.
    pub(crate) fn since(&self) -> Instant {
        self.at(self.since.load(Relaxed))
    }

    /// The time so many milliseconds after it was born.
    pub(crate) fn at(&self, millis: u64) -> Instant {
        self.born + Duration::from_millis(millis)
    }

    /// Milliseconds since it was born.
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.born).as_millis() as u64
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_secs()
    }
}

/// Whether a word is of an earlier second, told from those of workers that are ahead. Only the last bits of the
/// second are kept: 48 days without an answer are needed to take an old one for a new one.
fn older(word: u64, second: u64) -> bool {
    let ahead = (word >> SECOND).wrapping_sub(second) & LAST;
    ahead > 4 * SECONDS as u64
}

// === impl Clock ===

impl Clock {
    pub(crate) fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        Self { now: Instant::now(), unix }
    }

    /// A time in milliseconds since 1970.
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.now).as_millis() as u64;
        let before = self.now.saturating_duration_since(at).as_millis() as u64;
        (self.unix + after).saturating_sub(before)
    }
}

// === impl Limits ===

impl Limits {
    pub(crate) fn slow(&self, outcome: &Outcome) -> bool {
        self.slow_rate < 100 && outcome.took >= self.slow
    }

    /// Whether a probe that went like this says that all is well.
    pub(crate) fn good(&self, outcome: &Outcome) -> bool {
        !outcome.failed && !self.slow(outcome)
    }
}

impl From<&madang_model::policy::Ejection> for Limits {
    fn from(rules: &madang_model::policy::Ejection) -> Self {
        Self {
            failures: rules.failures,
            failure_rate: 100_u8.saturating_sub(rules.success_rate),
            slow_rate: rules.slow_rate,
            slow: rules.slow,
            window: rules.window,
            minimum: rules.minimum,
        }
    }
}

impl From<&madang_model::policy::Breaker> for Limits {
    fn from(rules: &madang_model::policy::Breaker) -> Self {
        Self {
            failures: rules.failures,
            failure_rate: rules.failure_rate,
            slow_rate: rules.slow_rate,
            slow: rules.slow,
            window: rules.window,
            minimum: rules.minimum,
        }
    }
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(1) => f.write_str("a failure"),
            Self::InARow(failures) => write!(f, "{failures} failures in a row"),
            Self::Failed(Sums { answers, failed, .. }) => write!(f, "{failed} of {answers} failed"),
            Self::Slow(Sums { answers, slow, .. }) => write!(f, "{slow} of {answers} were slow"),
            Self::Probe => f.write_str("the probe did not go well"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        failures: 1000,
        failure_rate: 100,
        slow_rate: 99,
        slow: Duration::from_secs(1),
        window: Duration::from_secs(10),
        minimum: 1,
    };

    fn outcome(failed: bool, took: u64, now: Instant) -> Outcome {
        let took = Duration::from_millis(took);
        Outcome { failed, began: now, took, now }
    }

    proptest! {
        /// Against a list of all answers, over any jumps of time.
        #[test]
        fn sums_are_those_of_the_seconds_of_the_window(
            steps in prop::collection::vec((prop_oneof![0_u64..200_000, 0_u64..14_400_000], any::<bool>(), any::<bool>()), 1..200),
            quick in any::<bool>(),
            window in 1_u64..=64,
        ) {
            let tally = Tally::new();
            let window = Duration::from_secs(window);
            let mut listed = VecDeque::new();
            let mut now = tally.born;
            for (jump, failed, slow) in steps {
                now += Duration::from_millis(if quick { jump % 700 } else { jump });
                tally.count(&LIMITS, &outcome(failed, if slow { 1000 } else { 1 }, now));
                listed.push_back(((now - tally.born).as_secs(), failed, slow));
                let second = (now - tally.born).as_secs();
                let within = || listed.iter().filter(|(at, ..)| at + window.as_secs() > second);
                let expected = Sums {
                    answers: within().count() as u32,
                    failed: within().filter(|(_, failed, _)| *failed).count() as u32,
                    slow: within().filter(|(.., slow)| *slow).count() as u32,
                };
                prop_assert_eq!(tally.sums(window, now), expected);
            }
        }
    }

    #[test]
    fn a_second_that_is_full_keeps_its_rate() {
        let tally = Tally::new();
        for n in 0..50_000 {
            tally.count(&LIMITS, &outcome(n % 4 == 0, 0, tally.born));
        }
        let sums = tally.sums(LIMITS.window, tally.born);
        assert_eq!((sums.answers, sums.failed), (FULL as u32, FULL as u32 / 4));
    }

    #[test]
    fn what_is_late_does_not_undo_what_is_newer() {
        let tally = Tally::new();
        let at = |seconds| tally.born + Duration::from_secs(seconds);
        tally.count(&LIMITS, &outcome(true, 0, at(70)));
        tally.count(&LIMITS, &outcome(true, 0, at(6)));
        assert_eq!(tally.sums(LIMITS.window, at(70)).failed, 2);
    }

    #[test]
    fn each_limit_has_its_reason() {
        let check = |limits: &Limits, failed: &[bool], took: u64| {
            let tally = Tally::new();
            let count = |failed: &bool| tally.count(limits, &outcome(*failed, took, tally.born));
            failed.iter().map(count).last().unwrap().map(|reason| reason.to_string())
        };
        let limits = Limits { failures: 3, failure_rate: 50, slow_rate: 50, minimum: 4, ..LIMITS };
        assert_eq!(check(&limits, &[true, true, false, true], 0).as_deref(), Some("3 of 4 failed"));
        assert_eq!(check(&limits, &[true, true, true], 0).as_deref(), Some("3 failures in a row"));
        assert_eq!(check(&limits, &[true, true, false, false], 0), None);
        assert_eq!(check(&limits, &[false, true, true], 0), None, "below the minimum");
        assert_eq!(check(&limits, &[false; 4], 1000).as_deref(), Some("4 of 4 were slow"));
        assert_eq!(check(&Limits { slow_rate: 100, ..limits }, &[false; 4], 1000), None);
    }

    #[test]
    fn what_began_before_it_began_anew_says_nothing() {
        let tally = Tally::new();
        let limits = Limits { failures: 1, ..LIMITS };
        let at = |seconds| tally.born + Duration::from_secs(seconds);
        tally.begin_anew(at(5));
        let hung = Outcome { began: at(1), ..outcome(true, 0, at(6)) };
        assert_eq!(tally.count(&limits, &hung), None);
        assert_eq!(tally.count(&limits, &outcome(true, 0, at(6))), Some(Reason::InARow(1)));
    }
}
