//! The engine: what the endpoints share, and what it does by itself.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use madang_store::Store;
use tokio::{sync::Semaphore, time::sleep};
use tracing::warn;

use crate::{
    Settings, Users, codes::Codes, families::Families, guesses::Guesses, http, keys::Keys, tickets::Tickets,
};

/// The time in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How often keys are looked after.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// How many passwords are checked at a time: each costs its service much, and on purpose.
const CHECKS: usize = 8;

/// The issuer. Cloning it is cheap and gives the same.
#[derive(Clone)]
pub struct Issuer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    settings: ArcSwapOption<Settings>,
    pub(crate) clock: Clock,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) keys: Keys,
    pub(crate) families: Families,
    pub(crate) codes: Codes,
    pub(crate) tickets: Tickets,
    pub(crate) guesses: Guesses,
    pub(crate) checks: Semaphore,
}

/// Why it does not start, or something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it knows cannot be kept.
    #[error("failed to keep the state of the issuer")]
    State(#[from] madang_store::Error),
    /// There is no randomness.
    #[error("no random bytes can be had")]
    Randomness(#[from] getrandom::Error),
    /// A kept key is none.
    #[error("a key of the issuer is not what was kept")]
    Key,
}

// === impl Issuer ===

impl Issuer {
    /// Over what is kept in this state. It hands out nothing before it is told to whom.
    ///
    /// # Errors
    /// If what it knows cannot be read, or there is no randomness.
    pub async fn open(state: &Store, users: Arc<dyn Users>) -> Result<Self, Error> {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::open_at(state, users, Arc::new(clock)).await
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// As [`Issuer::open`].
    pub async fn open_at(state: &Store, users: Arc<dyn Users>, clock: Clock) -> Result<Self, Error> {
        state.migrate("issuer", &[SCHEMA]).await?;
        let inner = Inner {
            settings: ArcSwapOption::empty(),
            users,
            keys: Keys::open(state, clock()).await?,
            families: Families::new(state),
            codes: Codes::default(),
            tickets: Tickets::new()?,
            guesses: Guesses::new(),
            checks: Semaphore::new(CHECKS),
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Does what the manifest says from now on; nothing, if it says that there is no issuer.
    pub fn follow(&self, settings: Option<Settings>) {
        self.inner.settings.store(settings.map(Arc::new));
    }

    /// Its endpoints. Each request must know from which address it comes.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Signs with a new key from now on, whose id it gives. Tokens that were signed before stay good to their end.
    ///
    /// # Errors
    /// If it cannot be kept: then the key stays.
    pub async fn rotate(&self) -> Result<String, Error> {
        self.inner.keys.add(self.inner.now(), self.inner.now()).await
    }

    /// Looks after keys for as long as it is polled.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.inner.keys.keep(self.inner.now()).await {
                warn!(%error, "the keys of the issuer are not looked after");
            }
            sleep(PERIOD).await;
        }
    }
}

// === impl Inner ===

impl Inner {
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    pub(crate) fn settings(&self) -> Option<Arc<Settings>> {
        self.settings.load_full()
    }
}

pub(crate) const SCHEMA: &str = "
    CREATE TABLE issuer_keys (kid TEXT PRIMARY KEY, pkcs8 BLOB NOT NULL, signs_from INTEGER NOT NULL) STRICT;
    CREATE TABLE issuer_families (
        id TEXT PRIMARY KEY, token BLOB NOT NULL, granted TEXT NOT NULL, ends INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX issuer_families_by_end ON issuer_families (ends);
";
