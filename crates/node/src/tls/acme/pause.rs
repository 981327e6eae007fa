//! How long an authority is left alone after it gave no certificate.

use std::time::Duration;

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) kind: Kind,
    /// How long the authority wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Whose the failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The authority was not reached, or has failed itself: asking again costs little.
    Unreached,
    /// It has said no. That counts there: Let's Encrypt takes five for each host and hour, and one more every twelve
    /// minutes.
    Refused,
}

/// What an authority can ask for at most.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

impl Failure {
    /// The pause after so many failures in a row, the last of which is this: twice as long each time, and up to a quarter
    /// more by a draw from 0 to 1, so that not all ask at once who failed at once.
    pub(super) fn pause(&self, failures: u32, draw: f64) -> Duration {
        let (first, last) = match self.kind {
            Kind::Unreached => (Duration::from_millis(500), Duration::from_secs(150)),
            Kind::Refused => (Duration::from_secs(60), Duration::from_secs(60 * 60)),
        };
        let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(last);
        let wanted = self.retry_after.unwrap_or_default().min(MOST);
        doubled.max(wanted).mul_f64(1.0 + draw / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(kind: Kind, retry_after: Option<u64>, failures: u32, draw: f64) -> f64 {
        let retry_after = retry_after.map(Duration::from_secs);
        Failure { why: String::new(), kind, retry_after }.pause(failures, draw).as_secs_f64()
    }

    #[test]
    fn it_doubles_up_to_a_bound_and_the_authority_may_ask_for_more() {
        for (kind, retry_after, failures, draw, expected) in [
            (Kind::Unreached, None, 1, 0.0, 0.5),
            (Kind::Unreached, None, 3, 0.0, 2.0),
            (Kind::Unreached, None, 3, 1.0, 2.5),
            (Kind::Unreached, None, 1000, 0.0, 150.0),
            (Kind::Refused, None, 1, 0.0, 60.0),
            (Kind::Refused, None, 7, 0.0, 3600.0),
            (Kind::Refused, Some(7200), 1, 0.0, 7200.0),
            (Kind::Refused, Some(5), 2, 0.0, 120.0),
            (Kind::Unreached, Some(u64::MAX), 1, 0.0, 86_400.0),
        ] {
            assert_eq!(pause(kind, retry_after, failures, draw), expected, "{kind:?} {failures}");
        }
    }

    /// Five at once and one more every twelve minutes: as many as Let's Encrypt lets a host fail.
    #[test]
    fn refusals_stay_below_what_is_counted_against_a_host() {
        let (mut at, mut left) = (0.0, 5.0_f64);
        for failures in 1..100 {
            assert!(left >= 1.0, "after {failures} failures, at {at} s");
            left -= 1.0;
            let pause = pause(Kind::Refused, None, failures, 0.0);
            at += pause;
            left = (left + pause / 720.0).min(5.0);
        }
    }
}
