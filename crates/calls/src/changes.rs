//! What changes in how services answer: breakers that open and close, instances that are put out of use and come back.
//!
//! The layers of a call keep all of it in atomics that nobody waits for. It is looked at off the path of requests, and what
//! is another than before becomes an event. What came and went between two looks is not seen; the times are those that
//! the breaker itself knows.

use std::collections::BTreeMap;

use madang_wire::admin::{BreakerState, Event, EventKind, HealthView};

/// How far apart two times must be to be two, in milliseconds: they are worked out anew at each look, from two clocks that
/// do not tick together. No breaker opens twice so soon.
const APART: u64 = 10;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub struct Changes {
    /// The breakers that are not closed, by service and by whose they are, with what they were doing.
    breakers: BTreeMap<(String, Option<String>), Broken>,
    /// The instances that are out of use, by service and name.
    ejected: BTreeMap<(String, String), u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken {
    state: BreakerState,
    since: u64,
    until: Option<u64>,
}

// === impl Changes ===

impl Changes {
    /// What is another than at the last look, `now` in milliseconds since 1970.
    pub fn look(&mut self, health: &[HealthView], now: u64) -> Vec<Event> {
        let mut next = Self::default();
        let mut events = Vec::new();
        for view in health {
            next.breakers_of(view, self, now, &mut events);
            next.instances_of(view, self, now, &mut events);
        }
        *self = next;
        events
    }

    fn breakers_of(&mut self, view: &HealthView, before: &Self, now: u64, events: &mut Vec<Event>) {
        for breaker in &view.breakers {
            let key = (view.service.clone(), breaker.origin.clone());
            let was = before.breakers.get(&key);
            let is = Broken { state: breaker.state, since: breaker.since, until: breaker.until };
            let again = was.is_some_and(|was| was.since.abs_diff(is.since) > APART);
            let (at, kind) = match (was.map_or(BreakerState::Closed, |was| was.state), is.state) {
                (BreakerState::Open, BreakerState::Open) if !again => (0, None),
                (_, BreakerState::Open) => (is.since, Some(EventKind::BreakerOpened)),
                (BreakerState::HalfOpen, BreakerState::HalfOpen) => (0, None),
                (_, BreakerState::HalfOpen) => {
                    (was.and_then(|was| was.until).unwrap_or(now).min(now), Some(EventKind::BreakerHalfOpen))
                }
                (BreakerState::Closed, BreakerState::Closed) => (0, None),
                (_, BreakerState::Closed) => (is.since, Some(EventKind::BreakerClosed)),
            };
            if is.state != BreakerState::Closed {
                self.breakers.insert(key, is);
            }
            let Some(kind) = kind else { continue };
            let calls = match &breaker.origin {
                Some(origin) => format!("calls of {origin}"),
                None => "all calls".to_owned(),
            };
            let counted = (kind == EventKind::BreakerOpened).then(|| {
                format!(
                    ": of {} answers {} failed, {} were slow",
                    breaker.answers, breaker.failed, breaker.slow
                )
            });
            let message = format!("{calls}{}", counted.unwrap_or_default());
            events.push(event(at, view, None, kind, message));
        }
    }

    fn instances_of(&mut self, view: &HealthView, before: &Self, now: u64, events: &mut Vec<Event>) {
        for answers in &view.instances {
            let key = (view.service.clone(), answers.instance.clone());
            let (was, is) = (before.ejected.get(&key), answers.ejected_until);
            let instance = Some(answers.instance.clone());
            match (was, is) {
                (Some(_), None) => {
                    events.push(event(
                        now,
                        view,
                        instance,
                        EventKind::Returned,
                        "its answers are good again".into(),
                    ));
                }
                // Once more counts as one event: it never came back in between.
                (None, Some(until)) => {
                    let seconds = until.saturating_sub(now).div_ceil(1000);
                    let message = format!(
                        "out of use for {seconds} s: of {} answers {} failed, {} were slow",
                        answers.answers, answers.failed, answers.slow
                    );
                    events.push(event(now, view, instance, EventKind::Ejected, message));
                }
                _ => {}
            }
            if is.is_some() {
                self.ejected.insert(key, answers.ejections);
            }
        }
    }
}

fn event(at: u64, view: &HealthView, instance: Option<String>, kind: EventKind, message: String) -> Event {
    Event { at, unit: view.service.clone(), instance, release: None, kind, message }
}

#[cfg(test)]
mod tests {
    use madang_wire::admin::{AnswersView, BreakerView};

    use super::*;

    fn breaker(state: BreakerState, since: u64, until: Option<u64>) -> HealthView {
        let breaker = BreakerView {
            origin: Some("orders".into()),
            state,
            since,
            until,
            failures_in_a_row: 5,
            answers: 5,
            failed: 5,
            slow: 0,
        };
        HealthView { service: "payments".into(), breakers: vec![breaker], ..HealthView::default() }
    }

    fn instance(ejected_until: Option<u64>) -> HealthView {
        let answers = AnswersView {
            instance: "users-1".into(),
            ejected_until,
            ejections: 1,
            failures_in_a_row: 5,
            answers: 6,
            failed: 5,
            slow: 0,
            in_flight: 0,
        };
        HealthView { service: "users".into(), instances: vec![answers], ..HealthView::default() }
    }

    fn kinds(seen: &mut Changes, view: HealthView, now: u64) -> Vec<(u64, EventKind)> {
        seen.look(&[view], now).into_iter().map(|event| (event.at, event.kind)).collect()
    }

    #[test]
    fn a_breaker_tells_of_each_turn_once_with_its_own_time() {
        use BreakerState::{Closed, HalfOpen, Open};
        let mut seen = Changes::default();
        assert_eq!(kinds(&mut seen, breaker(Closed, 0, None), 100), []);
        assert_eq!(kinds(&mut seen, breaker(Open, 140, Some(1140)), 250), [(140, EventKind::BreakerOpened)]);
        assert_eq!(kinds(&mut seen, breaker(Open, 140, Some(1140)), 500), []);
        assert_eq!(kinds(&mut seen, breaker(Open, 141, Some(1140)), 750), [], "the same time, read again");
        assert_eq!(
            kinds(&mut seen, breaker(HalfOpen, 140, None), 1250),
            [(1140, EventKind::BreakerHalfOpen)]
        );
        assert_eq!(kinds(&mut seen, breaker(HalfOpen, 140, None), 1500), []);
        assert_eq!(
            kinds(&mut seen, breaker(Open, 1600, Some(3600)), 1750),
            [(1600, EventKind::BreakerOpened)]
        );
        // Between two looks a probe failed: it opened anew.
        assert_eq!(
            kinds(&mut seen, breaker(Open, 3700, Some(7700)), 3750),
            [(3700, EventKind::BreakerOpened)]
        );
        assert_eq!(kinds(&mut seen, breaker(Closed, 7800, None), 8000), [(7800, EventKind::BreakerClosed)]);
        assert_eq!(kinds(&mut seen, breaker(Closed, 7800, None), 8250), []);
        let opened = seen.look(&[breaker(Open, 9000, None)], 9100).remove(0);
        assert_eq!(opened.message, "calls of orders: of 5 answers 5 failed, 0 were slow");
        assert_eq!(opened.unit, "payments");
    }

    #[test]
    fn an_instance_is_out_of_use_once_and_comes_back() {
        let mut seen = Changes::default();
        assert_eq!(kinds(&mut seen, instance(None), 0), []);
        assert_eq!(kinds(&mut seen, instance(Some(1000)), 10), [(10, EventKind::Ejected)]);
        assert_eq!(kinds(&mut seen, instance(Some(4000)), 1100), []);
        assert_eq!(kinds(&mut seen, instance(None), 4100), [(4100, EventKind::Returned)]);
        assert_eq!(kinds(&mut seen, instance(None), 4200), []);
        // One that is gone altogether has an event of its own.
        assert_eq!(kinds(&mut seen, instance(Some(9000)), 5000), [(5000, EventKind::Ejected)]);
        assert_eq!(seen.look(&[], 5100), []);
    }
}
