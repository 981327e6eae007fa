//! When customers come: a Poisson process, in which the time to the next one says nothing about the time since the last.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

/// The times at which customers come, from the start on, without an end.
pub struct Arrivals {
    rate: f64,
    at: f64,
    random: StdRng,
}

impl Arrivals {
    /// So many per second on average.
    pub fn new(rate: f64, random: StdRng) -> Self {
        Self { rate, at: 0.0, random }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // The inverse of the exponential distribution; 1 - u is never 0.
        let u: f64 = self.random.random();
        self.at += -(1.0 - u).ln() / self.rate;
        Some(Duration::from_secs_f64(self.at))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn times(seed: u64, rate: f64, count: usize) -> Vec<Duration> {
        Arrivals::new(rate, StdRng::seed_from_u64(seed)).take(count).collect()
    }

    /// Mean and variance of the number per second are both the rate, which is what makes it a Poisson process.
    #[test]
    fn as_many_come_as_the_rate_says_and_as_unevenly_as_people_do() {
        let (rate, seconds) = (50.0, 2_000_u64);
        let mut counts = vec![0_u64; seconds as usize];
        let all = times(7, rate, 200_000);
        all.iter().filter(|at| at.as_secs() < seconds).for_each(|at| counts[at.as_secs() as usize] += 1);
        let mean = counts.iter().sum::<u64>() as f64 / seconds as f64;
        let spread = |count: &u64| (*count as f64 - mean).powi(2);
        let variance = counts.iter().map(spread).sum::<f64>() / seconds as f64;
        assert!((mean - rate).abs() < 1.0, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.15, "{variance} / {mean}");
        assert!(all.is_sorted());
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        assert_eq!(times(1, 20.0, 100), times(1, 20.0, 100));
        assert_ne!(times(1, 20.0, 100), times(2, 20.0, 100));
    }
}
