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
    let policy =
        Policy { ejection: Some(rules), attempt_timeout: Duration::from_secs(86_400), ..Policy::default() };
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
    assert!(rotation.ejected() * 100 <= count * usize::from(at_most), "{} of {count}", rotation.ejected());
    assert!(count == 0 || rotation.ejected() < count, "one stays");
    assert_eq!(rotation.used.len() + rotation.ejected(), count);
    let holding = |endpoint: &Arc<Endpoint>| {
        let its = |sent: &&Sent| Arc::ptr_eq(&sent.endpoint, endpoint);
        sent.iter().filter(its).filter(|sent| sent.probe.as_ref().is_some_and(|probe| probe.holds())).count()
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
    assert!((0..100).any(|_| matches!(careless(), Some((Target::Remote(it), None)) if it.number != other)));
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
    let bench = runtime.block_on(async { bench(Ejection { base: Duration::ZERO, ..Ejection::default() }) });
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
