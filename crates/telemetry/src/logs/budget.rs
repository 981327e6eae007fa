//! How many lines of an instance are kept, so that a noisy one does not push out the others.
//!
//! Of each instance so many lines a second, and as many again of those that tell of trouble: what fails loudly loses its
//! chatter first. What is beyond stays in the file, and is counted.

use std::time::Duration;

use madang_wire::log::LogLevel;

/// The longest time for which what was not read while no node ran is allowed at once.
const MISSED: Duration = Duration::from_secs(60 * 60);

/// What one instance may still write.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    per_second: f64,
    ordinary: f64,
    trouble: f64,
    /// When it was last looked at, in microseconds since 1970.
    at: u64,
}

impl Budget {
    /// From now on, with what was not read for so long allowed too.
    pub(super) fn new(per_second: u32, now: u64, missed: Duration) -> Self {
        let per_second = f64::from(per_second);
        let allowed = per_second * missed.min(MISSED).as_secs_f64().max(1.0);
        Self { per_second, ordinary: allowed, trouble: allowed, at: now }
    }

    /// Whether a line of this level may be kept now.
    pub(super) fn allows(&mut self, level: Option<LogLevel>, now: u64) -> bool {
        let more = now.saturating_sub(self.at) as f64 / 1e6 * self.per_second;
        self.at = now;
        for allowed in [&mut self.ordinary, &mut self.trouble] {
            *allowed = (*allowed + more).min(self.per_second.max(*allowed));
        }
        let troubled = level.is_some_and(|level| level >= LogLevel::Warn);
        let allowed = if troubled { &mut self.trouble } else { &mut self.ordinary };
        let some = *allowed >= 1.0;
        *allowed -= f64::from(u8::from(some));
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(budget: &mut Budget, lines: usize, level: Option<LogLevel>, now: u64) -> usize {
        (0..lines).filter(|_| budget.allows(level, now)).count()
    }

    #[test]
    fn trouble_is_kept_while_chatter_is_not() {
        let mut budget = Budget::new(10, 0, Duration::ZERO);
        assert_eq!(kept(&mut budget, 100, Some(LogLevel::Info), 0), 10);
        assert_eq!(kept(&mut budget, 100, Some(LogLevel::Error), 0), 10);
        assert_eq!(kept(&mut budget, 100, None, 500_000), 5);
        assert_eq!(kept(&mut budget, 100, None, 60_000_000), 10, "no second has more than its own");
    }

    #[test]
    fn what_was_written_while_nobody_read_is_allowed() {
        let mut budget = Budget::new(10, 0, Duration::from_secs(60));
        assert_eq!(kept(&mut budget, 1000, None, 0), 600);
        assert_eq!(kept(&mut budget, 1000, None, 1_000_000), 10);
    }
}
