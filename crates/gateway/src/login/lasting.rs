//! What outlives a change of the manifest: the keys of cookies, who has logged out, and who is asked on the way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::{
    answers::Metadata,
    cookies::Seals,
    provider::{Ask, Provider, Reply},
    renewal::Renewals,
};
use crate::auth::{counted::Counted, identity::Clock};

/// How many questions to issuers wait at a time, and how many are under way.
const WAITING: usize = 256;
const UNDER_WAY: usize = 64;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many sessions are remembered that have ended before their time.
const ENDED: usize = 4096;

/// A question, and who waits for the answer.
struct Job {
    ask: Ask,
    answer: oneshot::Sender<Result<Reply, String>>,
}

/// What outlives a change of the manifest.
pub(crate) struct Lasting {
    clock: Clock,
    pub(super) counted: Counted,
    pub(super) seals: ArcSwap<Seals>,
    /// By which the gateway proves to the issuer who it is.
    pub(super) secret: ArcSwapOption<String>,
    pub(super) metadata: ArcSwapOption<Metadata>,
    pub(super) renewals: Renewals,
    /// Sessions that were logged out of, with when they would end.
    ended: ArcSwap<HashMap<String, u64>>,
    ending: Mutex<()>,
    jobs: mpsc::Sender<Job>,
    waiting: Mutex<Option<mpsc::Receiver<Job>>>,
}

// === impl Lasting ===

impl Lasting {
    pub(crate) fn new(clock: Clock, counted: Counted) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        Self {
            clock,
            counted,
            seals: ArcSwap::default(),
            secret: ArcSwapOption::empty(),
            metadata: ArcSwapOption::empty(),
            renewals: Renewals::default(),
            ended: ArcSwap::default(),
            ending: Mutex::default(),
            jobs,
            waiting: Mutex::new(Some(waiting)),
        }
    }

    /// Seals by the first of these keys, and opens by all.
    pub(crate) fn take_keys(&self, keys: &[[u8; 32]]) {
        self.seals.store(Arc::new(Seals::new(keys)));
    }

    pub(crate) fn take_secret(&self, secret: Option<String>) {
        self.secret.store(secret.map(Arc::new));
    }

    /// Asks issuers for as long as it is polled; the second time it is, nothing.
    pub(crate) async fn run(&self, provider: Arc<dyn Provider>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let mut under_way = JoinSet::new();
        while let Some(Job { ask, answer }) = waiting.recv().await {
            while under_way.len() >= UNDER_WAY {
                under_way.join_next().await;
            }
            while under_way.try_join_next().is_some() {}
            let provider = provider.clone();
            under_way.spawn(async move {
                let replied = timeout(PATIENCE, provider.ask(&ask)).await;
                // Whoever asked may be gone.
                let _ = answer.send(replied.unwrap_or_else(|_| Err("it took too long".to_owned())));
            });
        }
    }

    /// Asks an issuer, off the thread that answers requests.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Reply, String> {
        let (answer, answered) = oneshot::channel();
        let waits = self.jobs.try_send(Job { ask, answer });
        waits.map_err(|_| "too many wait for the issuer".to_owned())?;
        answered.await.map_err(|_| "nobody asks the issuer".to_owned())?
    }

    /// Ends a session before its time.
    pub(super) fn end(&self, id: &str, ends: u64) {
        let _ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ended, now) = ((**self.ended.load()).clone(), self.now());
        ended.retain(|_, ends| *ends > now);
        if ended.len() >= ENDED
            && let Some(first) = ended.iter().min_by_key(|(_, ends)| **ends).map(|(id, _)| id.clone())
        {
            ended.remove(&first);
        }
        ended.insert(id.to_owned(), ends);
        self.ended.store(Arc::new(ended));
    }

    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.ended.load().contains_key(id)
    }

    pub(super) fn now(&self) -> u64 {
        (self.clock)()
    }
}
