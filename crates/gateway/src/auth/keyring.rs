//! The keys of one issuer over time: who fetches them, when, and who waits for it.
//!
//! They are fetched when the issuer is first known and every [`PERIOD`] after that, so that a key that was withdrawn ends;
//! and once more when a token names a key that is not among them, at most once in [`COOL_DOWN`] however many do; while there
//! are none, whenever a token comes, at most once in [`AGAIN`]. One fetch is under way at a time, and all wait for that one. What was fetched last stays good while nothing can be fetched, for
//! [`STALE`].

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use madang_model::Issuer;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};

use super::{
    counted::Counted,
    denied::{Bad, Reason},
    jwk::{Found, Keys},
    jws::Unverified,
};

/// How long keys are good before they are asked for again.
pub(crate) const PERIOD: Duration = Duration::from_secs(15 * 60);
/// How long after a fetch for a key that is not there another may be made for such a one.
pub(crate) const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long keys are good that cannot be fetched anew.
pub(crate) const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon a fetch that failed is tried again; it doubles up to a minute.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// How long a request waits for a fetch, if its own deadline does not end before.
const WAIT: Duration = Duration::from_secs(5);
/// How many requests may wait at a time.
const WAITING: usize = 1024;

/// Fetches the keys of issuers. The gateway knows no way to anybody outside; whoever runs it does.
pub trait KeySource: Send + Sync {
    /// The document with an issuer's keys, a JSON Web Key Set, found by discovery if the manifest does not say where.
    /// An error says why there is none.
    fn fetch<'a>(&'a self, issuer: &'a Issuer) -> BoxFuture<'a, Result<Bytes, String>>;
}

/// The keys of one issuer.
pub(crate) struct Keyring {
    pub(crate) issuer: Issuer,
    held: ArcSwapOption<Held>,
    state: Mutex<State>,
    wanted: Notify,
    /// How many fetches have ended.
    rounds: watch::Sender<u64>,
    waiting: AtomicUsize,
}

struct Held {
    keys: Keys,
    document: Bytes,
    fetched: Instant,
}

struct State {
    fetching: bool,
    /// When a fetch was last made for a key that was not there.
    asked: Option<Instant>,
}

/// What a token's key is to be verified by, or why not.
pub(crate) enum Looked<T> {
    Found(T),
    /// A fetch is under way, after which it may be there.
    Wait(Waiting),
    Refused(Reason),
}

/// A request's wait for a fetch.
pub(crate) struct Waiting {
    keyring: Arc<Keyring>,
    rounds: watch::Receiver<u64>,
}

// === impl Keyring ===

impl Keyring {
    /// Of which nothing is known; somebody is to [`Keyring::follow`] it.
    pub(crate) fn new(issuer: Issuer) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            held: ArcSwapOption::empty(),
            state: Mutex::new(State { fetching: true, asked: None }),
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Verifies a token by its key. `last` is whether the request has waited already.
    pub(crate) fn look<T>(
        self: &Arc<Self>,
        token: &Unverified<'_>,
        last: bool,
        verify: impl FnOnce(&super::jwk::Key) -> Result<T, Reason>,
    ) -> Looked<T> {
        // Subscribed first, so that no fetch ends unseen between looking and waiting.
        // Read first, so that a fetch that ends meanwhile is noticed.
        let round = *self.rounds.borrow();
        let held = self.held.load();
        let Some(held) = held.as_ref().filter(|held| held.fetched.elapsed() < STALE) else {
            let refused = Reason::NoKeys { retry_after: AGAIN };
            return if last { Looked::Refused(refused) } else { self.fetched_for(round, AGAIN, refused) };
        };
        match held.keys.find(token) {
            Found::Key(key) => match verify(key) {
                Ok(found) => Looked::Found(found),
                Err(reason) => Looked::Refused(reason),
            },
            Found::OtherAlgorithm => Looked::Refused(Bad::Algorithm.into()),
            Found::Unknown if last => Looked::Refused(Bad::UnknownKey.into()),
            Found::Unknown => self.fetched_for(round, COOL_DOWN, Bad::UnknownKey.into()),
        }
    }

    /// What is not there is fetched for, unless that was done lately.
    fn fetched_for<T>(self: &Arc<Self>, round: u64, cool_down: Duration, refused: Reason) -> Looked<T> {
        let mut state = self.state();
        if !state.fetching && *self.rounds.borrow() == round {
            if state.asked.is_some_and(|asked| asked.elapsed() < cool_down) {
                return Looked::Refused(refused);
            }
            state.asked = Some(Instant::now());
            state.fetching = true;
            self.wanted.notify_one();
        }
        drop(state);
        self.wait(round)
    }

    /// Waits for the end of a fetch after this one.
    fn wait<T>(self: &Arc<Self>, round: u64) -> Looked<T> {
        if self.waiting.fetch_add(1, Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            return Looked::Refused(Reason::NoKeys { retry_after: AGAIN });
        }
        let mut rounds = self.rounds.subscribe();
        if *rounds.borrow_and_update() != round {
            rounds.mark_changed();
        }
        Looked::Wait(Waiting { keyring: self.clone(), rounds })
    }

    /// Fetches for as long as it is polled. `generation` is counted on when the keys are others than before.
    pub(crate) async fn follow(
        self: Arc<Self>,
        source: Arc<dyn KeySource>,
        generation: Arc<AtomicU64>,
        counted: Counted,
    ) {
        let mut failures = 0u32;
        loop {
            let fetched = timeout(PATIENCE, source.fetch(&self.issuer)).await;
            let fetched = fetched.unwrap_or_else(|_| Err("it took too long".to_owned()));
            let taken = fetched.and_then(|document| self.take(document, &generation));
            counted.fetched(taken.is_ok());
            let pause = match taken {
                Ok(()) => {
                    failures = 0;
                    PERIOD
                }
                Err(error) => {
                    let held = self.held.load().is_some();
                    warn!(issuer = self.issuer.issuer, error, held, "failed to fetch the keys of an issuer");
                    failures += 1;
                    AGAIN.saturating_mul(1 << (failures - 1).min(6)).min(AGAIN_AT_MOST)
                }
            };
            {
                let mut state = self.state();
                state.fetching = false;
                self.rounds.send_modify(|rounds| *rounds += 1);
            }
            tokio::select! {
                () = sleep(pause) => self.state().fetching = true,
                () = self.wanted.notified() => {}
            }
        }
    }

    fn take(&self, document: Bytes, generation: &AtomicU64) -> Result<(), String> {
        let keys = Keys::read(&document)?;
        let same = self.held.load().as_ref().is_some_and(|held| held.document == document);
        if !same {
            let (issuer, left_out) = (&self.issuer.issuer, keys.left_out);
            info!(issuer, left_out, "the keys of an issuer were fetched");
        }
        self.held.store(Some(Arc::new(Held { keys, document, fetched: Instant::now() })));
        if !same {
            // What was verified by keys that may be gone is verified again.
            generation.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Waiting ===

impl Waiting {
    /// Waits until the fetch has ended, and says whether it has in time.
    pub(crate) async fn ended(mut self, due: Option<Instant>) -> bool {
        let limit = Instant::now() + WAIT;
        let due = due.map_or(limit, |due| due.min(limit));
        // The sender lives as long as `self`.
        matches!(timeout_at(due, self.rounds.changed()).await, Ok(Ok(())))
    }

    /// What is answered if it has not.
    pub(crate) fn late() -> Reason {
        Reason::NoKeys { retry_after: AGAIN }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.keyring.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
