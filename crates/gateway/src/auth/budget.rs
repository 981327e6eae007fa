//! How many bad signatures of one client are looked at: verifying costs more than sending.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// How many clients are told apart; two of them may share a place, which only they can notice.
const PLACES: usize = 16_384;

/// How many bad signatures one client may send at once, and how long until it may send another.
const BURST: u64 = 50;
const EACH: Duration = Duration::from_secs(1);

/// What is left to each client. A fixed number of places that never grows; which client has which cannot be guessed.
///
/// Source: the generic cell rate algorithm (ITU-T I.371, Annex A), with the theoretical arrival time in a place.
pub(crate) struct Budget {
    began: Instant,
    hasher: RandomState,
    /// The time, in milliseconds since it began, at which all that was spent is earned back.
    places: Box<[AtomicU64]>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { began: Instant::now(), hasher: RandomState::new(), places }
    }

    /// Says how long a client has to wait, if it has nothing left.
    pub(crate) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let each = millis(EACH);
        let debt = self.place(client).load(Relaxed).saturating_sub(self.now());
        match debt.checked_sub((BURST - 1) * each) {
            Some(too_much) if too_much > 0 => Err(Duration::from_millis(too_much)),
            _ => Ok(()),
        }
    }

    /// Takes one.
    pub(crate) fn charge(&self, client: IpAddr) {
        let now = self.now();
        let _ =
            self.place(client).fetch_update(Relaxed, Relaxed, |earned| Some(earned.max(now) + millis(EACH)));
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// A client of IPv6 has a whole network of addresses.
    fn place(&self, client: IpAddr) -> &AtomicU64 {
        let network = match client.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        &self.places[self.hasher.hash_one(network) as usize % PLACES]
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_has_so_many_and_earns_them_back() {
        let budget = Budget::new();
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST {
            assert_eq!(budget.check(client), Ok(()));
            budget.charge(client);
        }
        assert_eq!(budget.check(client), Err(EACH));
        let others = (2..=40).map(|last| format!("192.0.2.{last}").parse().unwrap());
        let refused = others.filter(|other| budget.check(*other).is_err()).count();
        assert!(refused <= 1, "whoever is told apart is not touched: {refused}");
        advance(EACH / 2).await;
        assert_eq!(budget.check(client), Err(EACH / 2));
        advance(EACH / 2).await;
        assert_eq!(budget.check(client), Ok(()));
        budget.charge(client);
        assert_eq!(budget.check(client), Err(EACH), "one came back, not all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_client() {
        let budget = Budget::new();
        for last in 0..BURST {
            budget.charge(format!("2001:db8::{last:x}").parse().unwrap());
        }
        assert!(budget.check("2001:db8::ffff:1".parse().unwrap()).is_err());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        (0..BURST).for_each(|_| budget.charge(mapped));
        assert!(budget.check("192.0.2.1".parse().unwrap()).is_err());
    }
}
