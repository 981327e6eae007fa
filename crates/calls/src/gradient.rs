//! How many calls at once a service can bear, told by its latency: while calls take longer than they usually do,
//! the limit falls; otherwise it grows by the square root of itself, which is room for a short queue.
//!
//! `Gradient2Limit` of Netflix concurrency-limits 0.4, with the queue of its predecessor `GradientLimit` and
//! shorter windows, so that it falls within seconds. What it learns is this process's own.

use std::time::Duration;

use tokio::time::Instant;

/// The limit before anything is known.
const INITIAL: f64 = 20.0;
/// The least time over which latencies are averaged before the limit changes.
const WINDOW: Duration = Duration::from_millis(200);
/// The least number of latencies that say something.
const SAMPLES: u32 = 10;
/// The windows that are averaged plainly before the usual latency is a moving average.
const WARM_UP: u32 = 10;
/// The windows after which a latency is nearly forgotten: ten minutes of them, as there, because a limit that is
/// always reached makes the usual latency creep up.
const MEMORY: f64 = 3000.0;
/// How many times the usual latency is still usual.
const TOLERANCE: f64 = 1.5;
/// The share of a window in the change of the limit.
const SMOOTHING: f64 = 0.2;

/// The estimate of a limit.
pub(crate) struct Gradient {
    limit: f64,
    /// The usual latency in seconds.
    usual: f64,
    windows: u32,
    current: Window,
}

/// The latencies since the limit last changed.
#[derive(Default)]
struct Window {
    began: Option<Instant>,
    sum: f64,
    count: u32,
    /// The most calls at once.
    busiest: u32,
}

/// How long a call took.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Took {
    /// It was answered well.
    Exactly(Duration),
    /// It failed or was left, so that it says nothing unless it was slow.
    AtLeast(Duration),
}

// === impl Gradient ===

impl Default for Gradient {
    fn default() -> Self {
        Self { limit: INITIAL, usual: 0.0, windows: 0, current: Window::default() }
    }
}

impl Gradient {
    /// The limit within these bounds.
    pub(crate) fn limit(&mut self, least: u32, most: u32) -> u32 {
        let least = least.max(1);
        self.limit = self.limit.clamp(least.into(), most.max(least).into());
        self.limit as u32
    }

    /// Takes in how long a call took while so many were under way; whether the limit may have changed.
    pub(crate) fn observe(&mut self, took: Took, in_use: u32, now: Instant) -> bool {
        let seconds = match took {
            Took::Exactly(time) => time.as_secs_f64(),
            Took::AtLeast(time) if time.as_secs_f64() > self.usual => time.as_secs_f64(),
            Took::AtLeast(_) => return false,
        };
        let window = &mut self.current;
        let began = *window.began.get_or_insert(now);
        window.sum += seconds;
        window.count += 1;
        window.busiest = window.busiest.max(in_use);
        let over = window.count >= SAMPLES && now.saturating_duration_since(began) >= WINDOW;
        if over {
            let window = std::mem::take(window);
            self.adjust(window.sum / f64::from(window.count), window.busiest.into());
        }
        over
    }

    fn adjust(&mut self, recent: f64, busiest: f64) {
        let recent = recent.max(1e-6);
        self.windows = self.windows.saturating_add(1);
        let weight =
            if self.windows <= WARM_UP { 1.0 / f64::from(self.windows) } else { 2.0 / (MEMORY + 1.0) };
        self.usual += (recent - self.usual) * weight;
        if self.usual > recent * 2.0 {
            // After a long time of slowness the usual must not take as long to be forgotten.
            self.usual *= 0.95;
        }
        // A limit that is not reached is not tested either.
        if busiest < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.usual / recent).clamp(0.5, 1.0);
        let next = self.limit * gradient + self.limit.sqrt();
        self.limit += (next - self.limit) * SMOOTHING;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit after so many seconds of a service that takes so long for each call, busy to its limit.
    async fn run(gradient: &mut Gradient, seconds: u64, latency: impl Fn(u32) -> Duration) -> u32 {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let limit = gradient.limit(4, 200);
            let took = latency(limit);
            tokio::time::advance(took).await;
            (0..limit).for_each(|_| {
                gradient.observe(Took::Exactly(took), limit, Instant::now());
            });
        }
        gradient.limit(4, 200)
    }

    /// That of a service which works at so many calls at once, each for 10 ms, while the others queue.
    fn serves(at_once: u32) -> impl Fn(u32) -> Duration {
        move |in_use| Duration::from_millis(10).mul_f64((f64::from(in_use) / f64::from(at_once)).max(1.0))
    }

    #[tokio::test(start_paused = true)]
    async fn it_finds_what_a_service_can_bear_falls_with_it_and_recovers() {
        let mut gradient = Gradient::default();
        let sound = run(&mut gradient, 30, serves(50)).await;
        assert!((50..=110).contains(&sound), "{sound}");
        let brown_out = run(&mut gradient, 10, serves(5)).await;
        assert!(brown_out <= 20, "{brown_out}");
        let recovered = run(&mut gradient, 30, serves(50)).await;
        assert!((50..=110).contains(&recovered), "{recovered}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_falls_to_the_least_when_concurrency_is_not_the_cause_and_gets_used_to_it() {
        let mut gradient = Gradient::default();
        run(&mut gradient, 20, |_| Duration::from_millis(10)).await;
        let slow = |_| Duration::from_millis(200);
        assert_eq!(run(&mut gradient, 20, slow).await, 4);
        assert!(run(&mut gradient, 1500, slow).await > 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_not_reached_stays() {
        let mut gradient = Gradient::default();
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            gradient.observe(Took::Exactly(Duration::from_millis(10)), 3, Instant::now());
        }
        assert_eq!(gradient.limit(4, 200), INITIAL as u32);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_if_it_was_slow() {
        let after = async |took: Took| {
            let mut gradient = Gradient::default();
            run(&mut gradient, 10, |_| Duration::from_millis(100)).await;
            let before = gradient.limit(4, 200);
            for _ in 0..500 {
                tokio::time::advance(Duration::from_millis(10)).await;
                gradient.observe(took, before, Instant::now());
            }
            f64::from(gradient.limit(4, 200)) / f64::from(before)
        };
        assert_eq!(after(Took::AtLeast(Duration::from_millis(1))).await, 1.0, "fast failures say nothing");
        assert!(after(Took::AtLeast(Duration::from_secs(1))).await < 0.5);
    }
}
