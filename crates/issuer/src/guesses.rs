//! How often somebody may be wrong about a password.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How many places of each kind are told apart; who shares one with whom cannot be guessed.
const PLACES: usize = 16_384;

/// What one is allowed: so many at once, and then one each time.
#[derive(Clone, Copy)]
struct Rule {
    burst: u64,
    each: Duration,
}

/// A person at an address: few, so that nobody guesses.
const BOTH: Rule = Rule { burst: 5, each: Duration::from_secs(10) };
/// A person from anywhere: more, so that strangers elsewhere lock nobody out with a handful of requests.
const PERSON: Rule = Rule { burst: 50, each: Duration::from_secs(2) };
/// An address, whoever it says it is: so that nobody tries one password on everybody.
const ADDRESS: Rule = Rule { burst: 20, each: Duration::from_secs(3) };

/// What is left to each. A fixed number of places that never grows, made for the first guess: most nodes have no issuer.
///
/// Source: the generic cell rate algorithm (ITU-T I.371, Annex A), with the theoretical arrival time in a place.
pub(crate) struct Guesses {
    began: Instant,
    hasher: RandomState,
    places: OnceLock<[Box<[AtomicU64]>; 3]>,
}

/// One guess that is under way. Unless it was right it counts.
pub(crate) struct Guess {
    at: [usize; 3],
}

// === impl Guesses ===

impl Guesses {
    const RULES: [Rule; 3] = [BOTH, PERSON, ADDRESS];

    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), hasher: RandomState::new(), places: OnceLock::new() }
    }

    /// Takes one; or says how long to wait. It is taken before the password is looked at, so that many at once are many.
    pub(crate) fn take(&self, person: &str, address: IpAddr) -> Result<Guess, Duration> {
        // A client of IPv6 has a whole network of addresses.
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        let at = [self.place((person, network)), self.place(person), self.place(network)];
        let now = millis(self.began.elapsed());
        for kind in 0..at.len() {
            if let Err(wait) = self.spend(kind, at[kind], now) {
                (0..kind).for_each(|kind| self.give_back(kind, at[kind]));
                return Err(wait);
            }
        }
        Ok(Guess { at })
    }

    /// It was right.
    pub(crate) fn right(&self, guess: &Guess) {
        (0..guess.at.len()).for_each(|kind| self.give_back(kind, guess.at[kind]));
    }

    fn spend(&self, kind: usize, at: usize, now: u64) -> Result<(), Duration> {
        let Rule { burst, each } = Self::RULES[kind];
        let each = millis(each);
        let spent = self.at(kind, at).fetch_update(Relaxed, Relaxed, |earned| {
            let earned = earned.max(now);
            (earned - now <= (burst - 1) * each).then_some(earned + each)
        });
        spent.map(drop).map_err(|earned| Duration::from_millis(earned - now - (burst - 1) * each))
    }

    fn give_back(&self, kind: usize, at: usize) {
        let each = millis(Self::RULES[kind].each);
        let back = |earned: u64| Some(earned.saturating_sub(each));
        let _ = self.at(kind, at).fetch_update(Relaxed, Relaxed, back);
    }

    fn at(&self, kind: usize, at: usize) -> &AtomicU64 {
        let places = || (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        &self.places.get_or_init(|| [places(), places(), places()])[kind][at]
    }

    fn place(&self, who: impl Hash) -> usize {
        self.hasher.hash_one(who) as usize % PLACES
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_wrong_five_times_waits_and_whoever_is_right_does_not() {
        let guesses = Guesses::new();
        assert!(guesses.places.get().is_none(), "nobody has guessed");
        for _ in 0..100 {
            let guess = guesses.take("alice", at(1)).unwrap_or_else(|wait| panic!("{wait:?}"));
            guesses.right(&guess);
        }
        for _ in 0..BOTH.burst {
            assert!(guesses.take("alice", at(1)).is_ok());
        }
        assert_eq!(guesses.take("alice", at(1)).err(), Some(BOTH.each));
        assert!(guesses.take("alice", at(2)).is_ok(), "she herself is elsewhere");
        advance(BOTH.each).await;
        assert!(guesses.take("alice", at(1)).is_ok());
        assert!(guesses.take("alice", at(1)).is_err(), "one came back, not all");
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_is_slowed_whomever_it_tries_and_one_person_whoever_tries() {
        let guesses = Guesses::new();
        let tries = (0..100).filter(|n| guesses.take(&format!("person-{n}"), at(1)).is_ok()).count();
        assert_eq!(tries as u64, ADDRESS.burst);
        let guesses = Guesses::new();
        let tries = (0..200).filter(|n| guesses.take("alice", at(*n)).is_ok()).count();
        assert_eq!(tries as u64, PERSON.burst);
    }
}
