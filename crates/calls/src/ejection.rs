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
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::{exchange::Target, testing::Bench};

    /// A request on its way.
    struct Sent {
        endpoint: Arc<Endpoint>,
        probe: Option<Box<Probe>>,
        began: Instant,
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Send { again: bool },
        Answer { which: usize, failed: bool, slow: bool },
        Leave { which: usize },
        Wait(u64),
        Rotate(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<bool>().prop_map(|again| Step::Send { again }),
            4 => (any::<usize>(), prop::bool::weighted(0.8), any::<bool>())
                .prop_map(|(which, failed, slow)| Step::Answer { which, failed, slow }),
            1 => any::<usize>().prop_map(|which| Step::Leave { which }),
            1 => (0_u64..5_000).prop_map(Step::Wait),
            1 => (0_u16..12).prop_map(Step::Rotate),
        ]
    }

    fn bench(rules: Ejection) -> Bench {
        let policy = Policy {
            ejection: Some(rules),
            attempt_timeout: Duration::from_secs(86_400),
            ..Policy::default()
        };
        Bench::new(policy)
    }

    fn send(bench: &Bench, avoid: Option<u64>) -> Option<Sent> {
        let now = Instant::now();
        let (target, probe) = bench.upstream.pick(avoid, &bench.policy, &bench.worker.random, now)?;
        let Target::Remote(endpoint) = target else { panic!("nothing is hosted here") };
        Some(Sent { endpoint, probe, began: now })
    }

    fn answer(bench: &Bench, sent: Sent, failed: bool, took: Duration) {
        let Sent { endpoint, probe, began } = sent;
        let rules = bench.policy.ejection.as_ref().unwrap();
        let outcome = Outcome { failed, began, took, now: Instant::now() };
        bench.upstream.judge(&endpoint, probe, rules, &outcome, &bench.worker.random);
    }

    fn fail(bench: &Bench, number: usize, times: u32) {
        for _ in 0..times {
            let endpoint = bench.upstream.endpoints()[number].clone();
            answer(bench, Sent { endpoint, probe: None, began: Instant::now() }, true, Duration::ZERO);
        }
    }

    fn check(bench: &Bench, sent: &[Sent], at_most: u8) {
        let rotation = bench.upstream.endpoints.load();
        let count = rotation.all.len();
        assert!(
            rotation.ejected() * 100 <= count * usize::from(at_most),
            "{} of {count}",
            rotation.ejected()
        );
        assert!(count == 0 || rotation.ejected() < count, "one stays");
        assert_eq!(rotation.used.len() + rotation.ejected(), count);
        let holding = |endpoint: &Arc<Endpoint>| {
            let its = |sent: &&Sent| Arc::ptr_eq(&sent.endpoint, endpoint);
            sent.iter()
                .filter(its)
                .filter(|sent| sent.probe.as_ref().is_some_and(|probe| probe.holds()))
                .count()
        };
        assert!(rotation.all.iter().all(|endpoint| holding(endpoint) <= 1), "one probe at a time");
    }

    proptest! {
        #[test]
        fn never_too_many_are_out_of_use_and_each_comes_back(
            steps in prop::collection::vec(step(), 0..300),
            (at_most, panic, slow_rate) in (0_u8..=100, 0_u8..=100, 50_u8..=100),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let rules = Ejection { at_most, panic, slow_rate, ..Ejection::default() };
                let bench = bench(rules);
                bench.rotate(5);
                let mut sent: Vec<Sent> = Vec::new();
                for step in steps {
                    match step {
                        Step::Send { again } => {
                            let avoid = sent.last().filter(|_| again).map(|sent| sent.endpoint.number);
                            let found = send(&bench, avoid);
                            prop_assert!(found.is_some() == bench.upstream.has_instance());
                            sent.extend(found);
                        }
                        Step::Answer { which, failed, slow } if !sent.is_empty() => {
                            let one = sent.remove(which % sent.len());
                            answer(&bench, one, failed, Duration::from_secs(slow.into()));
                        }
                        Step::Leave { which } if !sent.is_empty() => drop(sent.remove(which % sent.len())),
                        Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
                        Step::Rotate(count) => drop(bench.rotate(count)),
                        _ => {}
                    }
                    check(&bench, &sent, at_most);
                }
                // Once all is well, and nobody has heard of what was sent before, all come back.
                drop(sent);
                advance(rules.cap).await;
                for left in (0..bench.upstream.endpoints.load().ejected()).rev() {
                    let probe = send(&bench, None).unwrap();
                    prop_assert!(probe.probe.is_some(), "a probe always comes");
                    answer(&bench, probe, false, Duration::ZERO);
                    prop_assert_eq!(bench.upstream.endpoints.load().ejected(), left);
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_fails_gets_nothing_but_one_probe_at_a_time_at_growing_intervals() {
        let bench = bench(Ejection::default());
        bench.rotate(2);
        let bad = bench.upstream.endpoints()[0].number;
        fail(&bench, 0, 5);
        let (mut waited, mut last) = (Vec::new(), Instant::now());
        while waited.len() < 9 {
            advance(Duration::from_millis(10)).await;
            for _ in 0..4 {
                let sent = send(&bench, None).unwrap();
                assert_eq!(sent.endpoint.number == bad, sent.probe.is_some());
                if sent.probe.is_some() {
                    assert!((0..100).all(|_| send(&bench, None).unwrap().endpoint.number != bad));
                    answer(&bench, sent, true, Duration::ZERO);
                    waited.push(last.elapsed().as_secs_f64());
                    last = Instant::now();
                }
            }
        }
        for (waited, most) in waited.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]) {
            assert!(*waited >= most * 0.74 && *waited <= most + 0.02, "{waited} of {most}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_leaves_or_is_never_heard_of_is_followed_by_another() {
        let bench = bench(Ejection::default());
        bench.rotate(2);
        fail(&bench, 0, 5);
        advance(Duration::from_secs(1)).await;
        let probe = send(&bench, None).unwrap();
        assert!(probe.probe.is_some() && send(&bench, None).unwrap().probe.is_none());
        drop(probe);
        let silent = send(&bench, None).unwrap();
        assert!(silent.probe.is_some());
        advance(bench.policy.attempt_timeout + PATIENCE).await;
        let other = send(&bench, None).unwrap();
        assert!(other.probe.is_some());
        drop(silent);
        assert!(send(&bench, None).unwrap().probe.is_none(), "the other one is on its way");
        answer(&bench, other, false, Duration::ZERO);
        assert_eq!(bench.upstream.endpoints.load().ejected(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_failed_before_is_no_probe_and_a_caller_without_ejection_uses_all() {
        let bench = bench(Ejection::default());
        bench.rotate(2);
        fail(&bench, 0, 5);
        let other = bench.upstream.endpoints()[1].number;
        let policy = Policy { ejection: None, ..Policy::default() };
        let careless = || bench.upstream.pick(None, &policy, &bench.worker.random, Instant::now());
        assert!(
            (0..100).any(|_| matches!(careless(), Some((Target::Remote(it), None)) if it.number != other))
        );
        advance(Duration::from_secs(1)).await;
        assert!((0..100).all(|_| send(&bench, Some(other)).unwrap().endpoint.number == other));
    }

    #[tokio::test(start_paused = true)]
    async fn below_the_share_for_panic_all_are_used() {
        let bench = bench(Ejection { at_most: 75, ..Ejection::default() });
        bench.rotate(4);
        let used = || {
            let numbers: std::collections::BTreeSet<_> =
                (0..200).map(|_| send(&bench, None).unwrap().endpoint.number).collect();
            numbers.len()
        };
        fail(&bench, 0, 5);
        fail(&bench, 1, 5);
        assert_eq!(used(), 2, "half are well");
        // One of them refuses connections, which leaves a quarter.
        bench.upstream.endpoints()[2].refused(Instant::now());
        assert_eq!(used(), 3, "all but the one that refuses");
        advance(Duration::from_millis(25)).await;
        bench.upstream.endpoints()[2].reached();
        fail(&bench, 2, 5);
        assert_eq!(used(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn where_most_fail_none_is_to_blame() {
        for count in [2, 4, 5] {
            let bench = bench(Ejection::default());
            bench.rotate(count);
            for number in (0..count).cycle().take(100) {
                fail(&bench, number.into(), 1);
            }
            assert_eq!(bench.upstream.endpoints.load().ejected(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_twice_as_often_as_the_others_and_too_often_is_ejected() {
        let ejected = |own: usize, others: usize| {
            let bench = bench(Ejection::default());
            bench.rotate(3);
            for round in 0..60 {
                for (number, endpoint) in bench.upstream.endpoints().into_iter().enumerate() {
                    let every = if number == 0 { own } else { others };
                    let sent = Sent { endpoint, probe: None, began: Instant::now() };
                    answer(&bench, sent, round % every == 1, Duration::ZERO);
                }
            }
            bench.upstream.endpoints.load().ejected()
        };
        assert_eq!(ejected(3, 100), 1, "a third");
        assert_eq!(ejected(10, 100), 0, "a tenth is borne");
        assert_eq!(ejected(3, 4), 0, "the others are hardly better");
    }

    #[tokio::test(start_paused = true)]
    async fn one_ejection_is_forgiven_for_each_window_that_goes_well() {
        let health = Health::new();
        let (rules, random) = (Ejection::default(), Random::seeded(1));
        let eject = || {
            let time = health.eject(&rules, &random, Instant::now());
            health.readmit(Instant::now());
            (time.as_secs_f64() * 4.0 / 3.0).log2().round()
        };
        assert_eq!([eject(), eject(), eject(), eject()], [0.0, 1.0, 2.0, 3.0]);
        advance(rules.window * 2).await;
        assert_eq!(eject(), 2.0);
        advance(rules.window * 100).await;
        assert_eq!(eject(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hung_before_it_came_back_does_not_take_it_out_again() {
        let bench = bench(Ejection::default());
        bench.rotate(2);
        let bad = bench.upstream.endpoints()[0].clone();
        let hung = || Sent { endpoint: bad.clone(), probe: None, began: Instant::now() };
        let hung: Vec<_> = (0..20).map(|_| hung()).collect();
        fail(&bench, 0, 5);
        advance(Duration::from_secs(1)).await;
        answer(&bench, send(&bench, None).unwrap(), false, Duration::ZERO);
        advance(Duration::from_secs(1)).await;
        hung.into_iter().for_each(|hung| answer(&bench, hung, true, Duration::from_secs(15)));
        assert_eq!(bench.upstream.endpoints.load().ejected(), 0);
    }

    /// Workers that eject, probe and replace at once never see too many out of use.
    #[test]
    fn workers_agree() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bench =
            runtime.block_on(async { bench(Ejection { base: Duration::ZERO, ..Ejection::default() }) });
        bench.rotate(7);
        let limits = |worker: u16| {
            for round in 0..3000_u16 {
                let sent = send(&bench, None).unwrap();
                let good = (round / 16 + worker).is_multiple_of(3);
                answer(&bench, sent, !good, Duration::ZERO);
                if worker == 0 && round % 50 == 0 {
                    bench.rotate(3 + round / 50 % 7);
                }
                check(&bench, &[], 50);
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|worker| drop(scope.spawn(move || limits(worker))));
        });
    }
}
