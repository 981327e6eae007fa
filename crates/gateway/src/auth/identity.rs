//! Who makes a request, over all changes of the manifest: the handle by which a node runs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use madang_model::{Auth, ClaimPath, Require, Route, ServiceName, System};
use tokio::{sync::watch, task::JoinSet};

use crate::login::{Lasting, Login, Provider};

use super::{
    api_keys::{ApiKey, ApiKeys},
    budget::Budget,
    counted::{Counted, IdentityCounts},
    guard::{Gatekeeper, Guard},
    keyring::{KeySource, Keyring},
    sealed::{SEED, Seal},
};

/// The time in seconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Who makes the requests of a system. It outlives each [`crate::Snapshot`], which is compiled with it. Cloning it is
/// cheap and gives the same.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
    current: Arc<Mutex<Option<Arc<Gatekeeper>>>>,
    keyrings: Arc<watch::Sender<BTreeMap<String, Arc<Keyring>>>>,
}

/// What holds whatever the manifest says.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) seal: Seal,
    pub(crate) budget: Budget,
    pub(crate) api_keys: ArcSwap<ApiKeys>,
    pub(crate) counted: Counted,
    login: Arc<Lasting>,
    gatekeepers: AtomicU64,
    /// Counted on when keys change: what was verified by them is verified again.
    pub(crate) generation: Arc<AtomicU64>,
}

// === impl Identity ===

impl Identity {
    /// Nobody yet. Services are told of principals by the key that is made of this seed, which must be kept: those that
    /// run know its public half.
    pub fn new(seed: &[u8; SEED]) -> Self {
        Self::at(seed, Arc::new(now))
    }

    pub(crate) fn at(seed: &[u8; SEED], clock: Clock) -> Self {
        let counted = Counted::default();
        let shared = Shared {
            login: Arc::new(Lasting::new(clock.clone(), counted.clone())),
            clock,
            seal: Seal::new(seed),
            budget: Budget::new(),
            api_keys: ArcSwap::default(),
            counted,
            gatekeepers: AtomicU64::new(0),
            generation: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
            current: Arc::default(),
            keyrings: Arc::new(watch::Sender::new(BTreeMap::new())),
        }
    }

    /// The keys by which services verify principals, as a JSON Web Key Set.
    pub fn verifying_keys(&self) -> String {
        self.shared.seal.keys()
    }

    /// What was counted since it is there.
    pub fn counts(&self) -> IdentityCounts {
        self.shared.counted.counts()
    }

    /// Takes these API keys and no others. It is in force when this returns.
    pub fn take_api_keys(&self, keys: impl IntoIterator<Item = ApiKey>) {
        self.shared.api_keys.store(Arc::new(ApiKeys::new(keys)));
        self.shared.generation.fetch_add(1, Relaxed);
    }

    /// Seals sessions of browsers by the first of these keys, and opens those that any of them sealed.
    pub fn take_session_keys(&self, keys: &[[u8; 32]]) {
        self.shared.login.take_keys(keys);
        self.shared.generation.fetch_add(1, Relaxed);
    }

    /// Proves by this secret to the issuer that logs browsers in who the gateway is.
    pub fn take_client_secret(&self, secret: Option<String>) {
        self.shared.login.take_secret(secret);
    }

    /// Asks the issuer that logs browsers in for as long as it is polled.
    pub async fn log_in(self, provider: Arc<dyn Provider>) {
        self.shared.login.run(provider).await;
    }

    /// Fetches the keys of issuers for as long as it is polled.
    pub async fn run(self, source: Arc<dyn KeySource>) {
        let mut wanted = self.keyrings.subscribe();
        let mut followed: BTreeMap<String, (Arc<Keyring>, tokio::task::AbortHandle)> = BTreeMap::new();
        // What is left when this is dropped ends with it.
        let mut tasks = JoinSet::new();
        loop {
            let now = wanted.borrow_and_update().clone();
            followed.retain(|name, (keyring, task)| {
                let stays = now.get(name).is_some_and(|wanted| Arc::ptr_eq(wanted, keyring));
                if !stays {
                    task.abort();
                }
                stays
            });
            for (name, keyring) in now {
                followed.entry(name).or_insert_with(|| {
                    let follow = keyring.clone().follow(
                        source.clone(),
                        self.shared.generation.clone(),
                        self.shared.counted.clone(),
                    );
                    (keyring, tasks.spawn(follow))
                });
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    /// What stands before the routes of a system, if anything does: the one that is in force if that says the same, so
    /// that what was verified stays so.
    pub(crate) fn gatekeeper(&self, system: &System) -> Option<Arc<Gatekeeper>> {
        let (auth, asked) = (system.gateway.auth.as_ref()?, asked(system));
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(gatekeeper) = &current
            && gatekeeper.auth == *auth
            && gatekeeper.asked == asked
            && gatekeeper.login.as_ref().map(|login| &login.declared) == system.gateway.login.as_ref()
        {
            return current;
        }
        let before = current.map(|current| current.keyrings.clone()).unwrap_or_default();
        Some(Arc::new(self.make(system, auth, asked, &before)))
    }

    /// Puts a gatekeeper into force: the keys of its issuers are fetched from now on, and of no others.
    pub(crate) fn follow(&self, gatekeeper: Option<Arc<Gatekeeper>>) {
        let keyrings = gatekeeper.as_ref().map(|gatekeeper| gatekeeper.keyrings.clone());
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = gatekeeper;
        self.keyrings.send_replace(keyrings.unwrap_or_default());
    }

    fn make(
        &self,
        system: &System,
        auth: &Auth,
        asked: BTreeSet<ClaimPath>,
        before: &BTreeMap<String, Arc<Keyring>>,
    ) -> Gatekeeper {
        let keyring = |issuer: &madang_model::Issuer| {
            let same = before.get(&issuer.issuer).filter(|before| before.issuer == *issuer);
            let keyring = same.cloned().unwrap_or_else(|| Keyring::new(issuer.clone()));
            (issuer.issuer.clone(), keyring)
        };
        let keyrings: BTreeMap<_, _> = auth.issuers.iter().map(keyring).collect();
        let login = system.gateway.login.as_ref().and_then(|declared| {
            let keyring = keyrings.get(&declared.issuer)?.clone();
            let (lasting, leeway) = (self.shared.login.clone(), auth.leeway.as_secs());
            Some(Arc::new(Login::new(declared.clone(), lasting, keyring, asked.clone(), leeway)))
        });
        Gatekeeper {
            id: self.shared.gatekeepers.fetch_add(1, Relaxed),
            shared: self.shared.clone(),
            realm: system.name.as_str().into(),
            asked,
            // The manifest was checked: it is the name of a header.
            key_header: auth.keys.as_ref().and_then(|keys| keys.header.parse().ok()),
            keyrings,
            login,
            auth: auth.clone(),
        }
    }
}

/// The claims that any route or service asks for.
fn asked(system: &System) -> BTreeSet<ClaimPath> {
    let routes = system.routes.iter().filter_map(|route| route.require.as_ref());
    let services = system.services.values().filter_map(|service| service.require.as_ref());
    let claims = routes.chain(services).filter_map(|require| match require {
        Require::Of(demand) => Some(demand.claim.keys()),
        Require::None | Require::Optional | Require::Principal => None,
    });
    claims.flatten().cloned().collect()
}

/// What stands before the requests to a service over a route; nothing if nobody is asked who they are.
pub(crate) fn guard(
    gatekeeper: Option<&Arc<Gatekeeper>>,
    system: &System,
    route: Option<&Route>,
    service: &ServiceName,
) -> Option<Arc<Guard>> {
    let gatekeeper = gatekeeper?.clone();
    let (demand, optional) = match system.require(route, service) {
        Require::None => return None,
        Require::Optional => (Default::default(), true),
        Require::Principal => (Default::default(), false),
        Require::Of(demand) => (demand, false),
    };
    Some(Arc::new(Guard { gatekeeper, demand, optional }))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
