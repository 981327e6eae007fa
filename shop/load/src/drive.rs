//! Sends customers when they are due, whoever is still waiting, and tells every second how it goes.

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use crate::{args::Options, arrivals::Arrivals, client::Client, scenario::Plan, tally::Tally, visit::visit};

/// How a load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Driven {
    /// For how long customers came.
    pub lasted: Duration,
    /// Whether they were told to stop before the time was over.
    pub interrupted: bool,
}

/// Lets customers come until the time is over or `stopped` says so, and waits for those who are under way.
pub async fn drive(
    client: &Client,
    plan: Arc<Plan>,
    options: &Options,
    seed: u64,
    tally: Arc<Tally>,
    mut stopped: watch::Receiver<bool>,
) -> Driven {
    let began = Instant::now();
    let end = began + options.time;
    let places = Arc::new(Semaphore::new(options.in_flight as usize));
    // What they want must not depend on when they come, so that a slow shop gets the same customers.
    let mut wants = StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut due = Arrivals::new(options.rate.0, StdRng::seed_from_u64(seed)).map(|at| began + at);
    let mut next = due.next().unwrap_or(end);
    let mut seconds = interval_at(began + Duration::from_secs(1), Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut visits = JoinSet::new();
    let mut interrupted = false;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped), if !interrupted => {
                interrupted = true;
                break;
            }
            _ = seconds.tick() => progress(&tally, began),
            () = sleep_until(next.min(end)) => {
                if next >= end {
                    break;
                }
                let want = plan.draw(&mut wants);
                match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let (client, tally, at) = (client.clone(), tally.clone(), next);
                        tally.sent();
                        visits.spawn(async move {
                            visit(client, &tally, want, at).await;
                            drop(place);
                        });
                    }
                    Err(_) => tally.refused(),
                }
                next = due.next().unwrap_or(end);
            }
            // Nothing piles up of those who are done.
            Some(_) = visits.join_next(), if !visits.is_empty() => {}
        }
    }
    let lasted = began.elapsed().min(options.time);
    while !visits.is_empty() {
        tokio::select! {
            _ = visits.join_next() => {}
            _ = seconds.tick() => progress(&tally, began),
        }
    }
    Driven { lasted, interrupted }
}

fn progress(tally: &Tally, began: Instant) {
    let second = tally.second();
    let millis = |quantile| second.latency.value_at_quantile(quantile) as f64 / 1_000.0;
    eprintln!(
        "{:>4} s  {:>5} sent  {:>5} answered  {:>4} failed  {:>4} refused  {:>4} under way  p50 {:.1} ms  p99 {:.1} ms",
        began.elapsed().as_secs(),
        second.sent,
        second.answered,
        second.failed,
        second.refused,
        tally.under_way(),
        millis(0.5),
        millis(0.99),
    );
}
