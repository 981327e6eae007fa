//! Takes an instance out of use because of its answers, and back after a real request to it went well.
//!
//! Outlier detection as Envoy has it (failures in a row, success rate), with three differences. An instance must
//! be beyond a limit and worse than the others: two are enough to compare, and where all fail, because of what they
//! all need or because they have too much to do, none is taken from the others' help. It comes back by one request
//! that goes well, not by time alone, so that one that still hangs costs one caller and not all. And how many may be
//! out of use at once is part of the data: a [`Rotation`] cannot be made otherwise.
//!
//! Instances that are out of use are in a list of their own. Choosing among the others costs nothing more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use madang_model::{InstanceId, policy::Ejection};
use madang_wire::admin::AnswersView;
use tokio::time::Instant;

use crate::{
    Policy, Upstream,
    balance::pick,
    endpoint::Endpoint,
    random::Random,
    tally::{Clock, Limits, Outcome, Reason, SHOWN, Sums, Tally},
};

/// How long an answer may take longer than its limits before another probe is sent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The bits of an instance's word, which is zero while it is in use: that it is out of use, whether a probe is on
/// its way, and until when no (other) probe is sent, in milliseconds.
const OUT: u64 = 1 << 63;
const PROBED: u64 = 1 << 62;
const UNTIL: u64 = PROBED - 1;

/// What is known of an instance by its answers.
pub(crate) struct Health {
    pub(crate) tally: Tally,
    word: AtomicU64,
    /// How often it was taken out of use without staying in use for long in between.
    ejections: AtomicU32,
}

/// The instances of a service: those in use and those out of use. At least one is in use, if there is one.
#[derive(Default)]
pub(crate) struct Rotation {
    pub(crate) all: Vec<Arc<Endpoint>>,
    pub(crate) used: Vec<Arc<Endpoint>>,
    ejected: Vec<Arc<Endpoint>>,
    /// The most that may be out of use, in percent.
    at_most: u8,
}

/// The one request that finds out whether an instance is well again. Dropped, it leaves that to another.
pub(crate) struct Probe {
    endpoint: Arc<Endpoint>,
    word: u64,
}

// === impl Health ===

impl Health {
    pub(crate) fn new() -> Self {
        Self { tally: Tally::new(), word: AtomicU64::new(0), ejections: AtomicU32::new(0) }
    }

    /// Until when it is out of use at least, if it is.
    pub(crate) fn ejected(&self) -> Option<u64> {
        let word = self.word.load(Relaxed);
        (word != 0).then_some(word & UNTIL)
    }

    /// Takes it out of use, or leaves it there; for how long. One in a row is forgiven for each window that it
    /// was in use.
    fn eject(&self, rules: &Ejection, random: &Random, now: Instant) -> Duration {
        let used = if self.ejected().is_none() {
            now.saturating_duration_since(self.tally.since())
        } else {
            Duration::ZERO
        };
        let forgiven = used.as_millis() / rules.window.as_millis().max(1);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        let before = self.ejections.load(Relaxed).saturating_sub(forgiven);
        self.ejections.store(before.saturating_add(1), Relaxed);
        let time = growing(rules.base, rules.cap, before, random);
        self.word.store(OUT | self.later(now, time), Relaxed);
        time
    }

    /// Lets one request through once the time is over, and another if nothing is heard of it for so long.
    fn try_probe(&self, patience: Duration, now: Instant) -> Option<u64> {
        let word = self.word.load(Relaxed);
        if word == 0 || word & UNTIL > self.tally.millis(now) {
            return None;
        }
        let probed = OUT | PROBED | self.later(now, patience);
        self.word.compare_exchange(word, probed, Relaxed, Relaxed).is_ok().then_some(probed)
    }

    fn view(&self, instance: &InstanceId, clock: &Clock) -> AnswersView {
        let Sums { answers, failed, slow } = self.tally.sums(SHOWN, clock.now);
        AnswersView {
            instance: instance.to_string(),
            ejected_until: self.ejected().map(|until| clock.millis(self.tally.at(until))),
            ejections: self.ejections.load(Relaxed),
            failures_in_a_row: self.tally.streak(),
            answers,
            failed,
            slow,
            in_flight: 0,
        }
    }

    fn readmit(&self, now: Instant) {
        self.tally.begin_anew(now);
        self.word.store(0, Relaxed);
    }

    fn later(&self, now: Instant, time: Duration) -> u64 {
        (self.tally.millis(now) + time.as_millis() as u64) & UNTIL
    }
}

/// A time that doubles up to the cap; up to a quarter less, so that what began together does not end together.
pub(crate) fn growing(base: Duration, cap: Duration, doublings: u32, random: &Random) -> Duration {
    let time = base.saturating_mul(1 << doublings.min(31)).min(cap);
    time - random.up_to(time / 4)
}

// === impl Rotation ===

impl Rotation {
    /// Instances, of which those too many out of use come back, the first to be probed first.
    pub(crate) fn new(all: Vec<Arc<Endpoint>>, at_most: u8, now: Instant) -> Self {
        let is_ejected = |endpoint: &&Arc<Endpoint>| endpoint.health.ejected().is_some();
        let mut ejected: Vec<_> = all.iter().filter(is_ejected).cloned().collect();
        ejected.sort_by_key(|endpoint| endpoint.health.ejected());
        let too_many = ejected.len().saturating_sub(allowed(all.len(), at_most));
        ejected.drain(..too_many).for_each(|endpoint| endpoint.health.readmit(now));
        let used = all.iter().filter(|endpoint| !is_ejected(endpoint)).cloned().collect();
        Self { all, used, ejected, at_most }
    }

    /// The same instances, after the state of one changed.
    fn anew(&self, at_most: u8, now: Instant) -> Self {
        Self::new(self.all.clone(), at_most, now)
    }

    /// These instances in place of the others.
    pub(crate) fn replaced(&self, all: Vec<Arc<Endpoint>>) -> Self {
        Self::new(all, self.at_most, Instant::now())
    }

    /// Chooses one, and says whether the request is its probe.
    pub(crate) fn pick(
        &self,
        avoid: Option<u64>,
        policy: &Policy,
        random: &Random,
        now: Instant,
    ) -> Option<(Arc<Endpoint>, Option<Box<Probe>>)> {
        let among = match &policy.ejection {
            Some(rules) if !self.ejected.is_empty() => {
                // A call that failed once is no probe: it might fail again, and another comes.
                if let Some(probe) = avoid.is_none().then(|| self.probe(policy, now)).flatten() {
                    return Some((probe.endpoint.clone(), Some(Box::new(probe))));
                }
                let usable = self.used.iter().filter(|endpoint| endpoint.reachable(now)).count();
                let panic = usable * 100 < self.all.len() * usize::from(rules.panic);
                if panic { &self.all } else { &self.used }
            }
            _ => &self.all,
        };
        pick(among, avoid, random, now).map(|endpoint| (endpoint, None))
    }

    /// How they answer.
    pub(crate) fn view(&self, clock: &Clock) -> Vec<AnswersView> {
        let view = |endpoint: &Arc<Endpoint>| AnswersView {
            in_flight: endpoint.in_flight(),
            ..endpoint.health.view(&endpoint.instance, clock)
        };
        self.all.iter().map(view).collect()
    }

    /// Whether the others are better: most of them do not fail as well, or not half as often.
    fn is_outlier(&self, endpoint: &Arc<Endpoint>, reason: Reason, rules: &Ejection, now: Instant) -> bool {
        let others = || self.used.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        let rate = |part: fn(&Sums) -> u32, own: &Sums| {
            let (mut parts, mut answers) = (0_u64, 0_u64);
            for other in others() {
                let sums = other.health.tally.sums(rules.window, now);
                parts += u64::from(part(&sums));
                answers += u64::from(sums.answers);
            }
            parts * 2 * u64::from(own.answers) <= u64::from(part(own)) * answers
        };
        match &reason {
            Reason::InARow(_) => {
                let failing =
                    |other: &&Arc<Endpoint>| other.health.tally.streak() >= (rules.failures / 2).max(1);
                let failing = others().filter(failing).count();
                failing == 0 || failing * 2 < others().count()
            }
            Reason::Failed(own) => rate(|sums| sums.failed, own),
            Reason::Slow(own) => rate(|sums| sums.slow, own),
            Reason::Probe => true,
        }
    }

    fn probe(&self, policy: &Policy, now: Instant) -> Option<Probe> {
        let patience = policy.attempt_timeout + PATIENCE;
        self.ejected.iter().find_map(|endpoint| {
            let word = endpoint.reachable(now).then(|| endpoint.health.try_probe(patience, now)).flatten()?;
            let probe = Probe { endpoint: endpoint.clone(), word };
            endpoint.admit(now).then_some(probe)
        })
    }

    /// How many are out of use.
    #[cfg(test)]
    pub(crate) fn ejected(&self) -> usize {
        self.ejected.len()
    }
}

/// How many of so many instances may be out of use.
fn allowed(instances: usize, at_most: u8) -> usize {
    (instances * usize::from(at_most) / 100).min(instances.saturating_sub(1))
}

// === impl Probe ===

impl Probe {
    /// Whether it is still the one that decides.
    fn holds(&self) -> bool {
        self.endpoint.health.word.load(Relaxed) == self.word
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // From now on another may be sent. If something was decided the word is a different one.
        let _ = self.endpoint.health.word.compare_exchange(self.word, OUT, Relaxed, Relaxed);
    }
}

// === impl Upstream ===

impl Upstream {
    /// Judges an instance by an answer to a request that was its probe, or none.
    pub(crate) fn judge(
        &self,
        endpoint: &Arc<Endpoint>,
        probe: Option<Box<Probe>>,
        rules: &Ejection,
        outcome: &Outcome,
        random: &Random,
    ) {
        let limits = Limits::from(rules);
        match probe {
            Some(probe) if limits.good(outcome) => self.readmit(&probe, outcome.now),
            Some(probe) => self.eject(endpoint, Some(&probe), rules, Reason::Probe, random, outcome.now),
            // What was on its way when it was taken out of use adds nothing.
            None if endpoint.health.ejected().is_some() => {}
            None => {
                if let Some(reason) = endpoint.health.tally.count(&limits, outcome) {
                    self.eject(endpoint, None, rules, reason, random, outcome.now);
                }
            }
        }
    }

    fn eject(
        &self,
        endpoint: &Arc<Endpoint>,
        probe: Option<&Probe>,
        rules: &Ejection,
        reason: Reason,
        random: &Random,
        now: Instant,
    ) {
        let may = |rotation: &Rotation| match probe {
            Some(probe) => probe.holds(),
            None => {
                endpoint.health.ejected().is_none()
                    && rotation.ejected.len() < allowed(rotation.all.len(), rules.at_most)
                    && rotation.is_outlier(endpoint, reason, rules, now)
            }
        };
        // Looked at first without the lock: where no more may be ejected, this happens at every failure.
        if !may(&self.endpoints.load()) {
            return;
        }
        let time = {
            let _replacing = self.replacing();
            let rotation = self.endpoints.load();
            if !may(&rotation) || !endpoint.in_rotation() {
                return;
            }
            let time = endpoint.health.eject(rules, random, now);
            self.endpoints.store(Arc::new(rotation.anew(rules.at_most, now)));
            time
        };
        let (service, instance) = (self.name(), &endpoint.instance);
        tracing::warn!(%service, %instance, %reason, ?time, "instance taken out of use");
    }

    fn readmit(&self, probe: &Probe, now: Instant) {
        let endpoint = &probe.endpoint;
        {
            let _replacing = self.replacing();
            if !probe.holds() {
                return;
            }
            endpoint.health.readmit(now);
            // How slow it was belongs to the time before too.
            endpoint.latency.forget();
            let rotation = self.endpoints.load();
            self.endpoints.store(Arc::new(rotation.anew(rotation.at_most, now)));
        }
        tracing::info!(service = %self.name(), instance = %endpoint.instance, "instance in use again");
    }
}

#[cfg(test)]
mod tests;
