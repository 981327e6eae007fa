//! Cheap randomness for choices that nobody must be able to repeat by accident: balance, jitter and ids. None of it is
//! a secret.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rand::{
    RngExt,
    distr::{Distribution, StandardUniform},
    rngs::SmallRng,
};

thread_local! {
    /// Begins anew in each thread, with 256 bits of the system's randomness.
    static IDS: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// An id that no other equals, as good as certainly.
pub(crate) fn id<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    IDS.with_borrow_mut(|ids| ids.random())
}

/// A generator that many tasks may draw from at once (SplitMix64; Steele, Lea and Flood 2014). Equal seeds
/// give equal draws.
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one, which is not zero.
    pub(crate) fn below(&self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// A time from zero to this one.
    pub(crate) fn up_to(&self, limit: Duration) -> Duration {
        limit.mul_f64((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
