//! When to start again after an exit, and when to stop trying.
//!
//! Exponential with equal jitter (Marc Brooker, "Exponential Backoff And Jitter", 2015): half of the pause is
//! certain, so that a program that fails at once cannot be started in a tight loop.

use std::time::Duration;

use crate::config::Backoff;

/// The failures in a row of one release of a unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    never_ready: u32,
    /// Starts do succeed: one of them did.
    proven: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start again after this pause.
    After(Duration),
    /// Do not start again: so many starts failed and none became ready.
    GiveUp(u32),
}

// === impl Failures ===

impl Failures {
    /// An instance is ready: starts do succeed.
    pub(crate) fn became_ready(&mut self) {
        (self.never_ready, self.proven) = (0, true);
    }

    /// The first start failed, for a reason that another start would only meet again: no more are made. Where
    /// starts did succeed, or fail otherwise, it may be about to change, as a program that is being replaced.
    pub(crate) fn hopeless(&self) -> bool {
        self.in_a_row == 0 && !self.proven
    }

    /// An instance ended that should not have, after being ready for so long if it ever was. `jitter` is
    /// random, from 0 to 1.
    pub(crate) fn ended(&mut self, ready_for: Option<Duration>, jitter: f64, rule: &Backoff) -> Next {
        match ready_for {
            Some(healthy) if healthy >= rule.healthy_after => self.in_a_row = 0,
            Some(_) => {}
            None => self.never_ready += 1,
        }
        if self.never_ready >= rule.attempts {
            return Next::GiveUp(self.never_ready);
        }
        // One that did its work gets its place back at once, the first time.
        let step = if ready_for.is_some() { self.in_a_row.checked_sub(1) } else { Some(self.in_a_row) };
        self.in_a_row += 1;
        Next::After(step.map_or(Duration::ZERO, |step| {
            let full = rule.first.saturating_mul(1 << step.min(20)).min(rule.longest);
            full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Backoff = Backoff {
        first: Duration::from_millis(200),
        longest: Duration::from_secs(10),
        healthy_after: Duration::from_secs(60),
        attempts: 5,
    };

    fn millis(next: Next) -> Option<u128> {
        match next {
            Next::After(pause) => Some(pause.as_millis()),
            Next::GiveUp(_) => None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_then_it_gives_up() {
        let mut failures = Failures::default();
        let rule = Backoff { attempts: 8, ..RULE };
        let pauses: Vec<_> = (0..8).map(|_| millis(failures.ended(None, 1.0, &rule))).collect();
        let expected =
            [Some(200), Some(400), Some(800), Some(1600), Some(3200), Some(6400), Some(10_000), None];
        assert_eq!(pauses, expected);
    }

    #[test]
    fn one_that_is_never_ready_is_given_up_while_somebody_still_looks_on() {
        let (mut failures, mut pauses) = (Failures::default(), Duration::ZERO);
        while let Next::After(pause) = failures.ended(None, 1.0, &Backoff::default()) {
            pauses += pause;
        }
        assert_eq!(pauses, Duration::from_secs(3));
    }

    #[test]
    fn only_the_first_start_can_be_hopeless() {
        let mut failures = Failures::default();
        assert!(failures.hopeless());
        failures.ended(None, 0.5, &RULE);
        assert!(!failures.hopeless(), "it failed otherwise before");
        let mut failures = Failures::default();
        failures.became_ready();
        assert!(!failures.hopeless(), "starts do succeed");
    }

    #[test]
    fn half_of_a_pause_is_certain() {
        let mut failures = Failures::default();
        assert_eq!(millis(failures.ended(None, 0.0, &RULE)), Some(100));
    }

    #[test]
    fn one_that_did_its_work_is_back_at_once_and_one_that_keeps_exiting_is_not() {
        let mut failures = Failures::default();
        let briefly = Some(Duration::from_secs(2));
        let pauses: Vec<_> = (0..4).map(|_| millis(failures.ended(briefly, 1.0, &RULE))).collect();
        assert_eq!(pauses, [Some(0), Some(200), Some(400), Some(800)]);
        let long = Some(Duration::from_secs(61));
        assert_eq!(millis(failures.ended(long, 1.0, &RULE)), Some(0), "a healthy minute starts anew");
    }

    #[test]
    fn one_that_becomes_ready_is_never_given_up() {
        let mut failures = Failures::default();
        for _ in 0..100 {
            for _ in 0..4 {
                assert!(millis(failures.ended(None, 0.5, &RULE)).is_some());
            }
            failures.became_ready();
            assert!(millis(failures.ended(Some(Duration::from_secs(1)), 0.5, &RULE)).is_some());
        }
    }
}
