//! A certificate that an authority on the network signs (ACME, RFC 8555): had when there is none, and anew when the
//! authority suggests it, or else at half its life.
//!
//! Map: [`Keeper`] knows when to ask, an `order` is how; `renewal` is when the authority wants to be asked, `http` carries
//! what is said, `kept` is what stays over restarts, `pause` how long nobody is asked after a failure.

mod http;
mod kept;
mod order;
mod pause;
#[cfg(test)]
mod pebble;
mod renewal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(super) use instant_acme::RetryPolicy as Patience;
use madang_gateway::{Certificate, Tls};
use madang_model::Acme;
use tracing::{info, warn};

use self::{http::Http, kept::Folder, order::Wanted, renewal::Kept};
use super::{date, development::half_life};
use crate::secrets::{Keys, Secrets};

/// How long an authority may take to look whose the hosts are, and to sign.
pub(super) const PATIENCE: Patience =
    Patience::new().initial_delay(Duration::from_secs(1)).backoff(1.5).timeout(Duration::from_secs(90));

/// Has certificates of authorities. What it has is in files below its folder.
pub(super) struct Keeper {
    folder: PathBuf,
    state: Mutex<State>,
    patience: Patience,
    /// To the secrets of a system.
    keys: Keys,
}

/// What became of asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// How often a certificate was had.
    pub(crate) issued: u64,
    /// How often none was.
    pub(crate) failed: u64,
}

#[derive(Default)]
struct State {
    /// What the rest is about.
    of: Option<Acme>,
    /// How often asking has failed in a row.
    failures: u32,
    /// When it may be asked again, in milliseconds since 1970.
    next: u64,
    trouble: Option<String>,
    renewal: Renewal,
    orders: Orders,
}

/// What the authority has said of when to renew a certificate.
#[derive(Default)]
struct Renewal {
    of: Option<Kept>,
    /// In seconds since 1970.
    at: Option<u64>,
    /// When it is asked again, in seconds since 1970.
    next: u64,
}

/// When a kept certificate is not enough any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Due {
    /// In seconds since 1970, unless its authority suggests something else; at once if there is none, or it is not for all
    /// hosts.
    at: u64,
    /// The certificate, if it says which one it is.
    kept: Option<Kept>,
}

/// What came of asking.
pub(super) enum Asked {
    /// A certificate, which is kept now. Whether it was failed to be had before.
    Issued { recovered: bool },
    /// None, for this reason. Whether that is news.
    Failed { why: String, news: bool },
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(folder: PathBuf, patience: Patience, keys: Keys) -> Self {
        Self { folder, state: Mutex::default(), patience, keys }
    }

    /// The certificate that is kept, and when another is due.
    pub(super) fn certificate(&self, acme: &Acme) -> (Option<Certificate>, Due) {
        let kept = self.of(acme).certificate();
        let is_for_all = |kept: &Certificate| acme.domains.iter().all(|domain| kept.names().contains(domain));
        let at = kept.as_ref().filter(|kept| is_for_all(kept)).map_or(0, half_life);
        let due = Due { at, kept: kept.as_ref().and_then(Kept::of) };
        (kept, due)
    }

    /// Asks for a certificate if one is due and it is not too soon, by the time in milliseconds since 1970. The secrets of
    /// the system are in this file.
    pub(super) async fn ask(
        &self,
        acme: &Acme,
        due: &Due,
        tls: &Tls,
        secrets: &Path,
        now: u64,
    ) -> Option<Asked> {
        self.is_about(acme);
        if now / 1000 < self.due(acme, due, now / 1000).await || now < self.state().next {
            return None;
        }
        let wanted = Wanted {
            acme,
            folder: &self.of(acme),
            tls,
            secrets: &Secrets::at(secrets, self.keys.clone()),
            patience: self.patience,
            replaces: due.kept.as_ref().map(|kept| &kept.number),
        };
        let ordered = order::order(&wanted, now / 1000).await;
        let mut state = self.state();
        if state.of.as_ref() != Some(acme) {
            // The manifest has said something else meanwhile, and with it what is shown to the authority.
            return None;
        }
        Some(match ordered {
            Ok(()) => {
                state.orders.issued += 1;
                (state.failures, state.next) = (0, 0);
                Asked::Issued { recovered: state.trouble.take().is_some() }
            }
            Err(failure) => {
                state.orders.failed += 1;
                state.failures = state.failures.saturating_add(1);
                state.next = now + failure.pause(state.failures, rand::random()).as_millis() as u64;
                let why = failure.why;
                let before = state.trouble.replace(why.clone());
                Asked::Failed { news: before.is_none_or(|before| before != why), why }
            }
        })
    }

    /// Why there is no certificate, or none anew, and when it is asked again, in milliseconds since 1970.
    pub(super) fn trouble(&self) -> Option<(String, u64)> {
        let state = self.state();
        state.trouble.clone().map(|why| (why, state.next))
    }

    pub(super) fn orders(&self) -> Orders {
        self.state().orders
    }

    /// The manifest wants no authority to be asked.
    pub(super) fn rest(&self) {
        let mut state = self.state();
        *state = State { orders: state.orders, ..State::default() };
    }

    /// What was said of another authority, or of other hosts, holds no more.
    fn is_about(&self, acme: &Acme) {
        let mut state = self.state();
        if state.of.as_ref() != Some(acme) {
            *state = State { of: Some(acme.clone()), orders: state.orders, ..State::default() };
        }
    }

    /// When to ask for another certificate, in seconds since 1970: when the authority suggests it, of which it is asked now
    /// and then.
    async fn due(&self, acme: &Acme, due: &Due, now: u64) -> u64 {
        let Some(kept) = due.kept.as_ref().filter(|_| due.at > 0) else { return due.at };
        let before = {
            let mut state = self.state();
            if state.renewal.of.as_ref() != Some(kept) {
                state.renewal = Renewal { of: Some(kept.clone()), ..Renewal::default() };
            }
            if now < state.renewal.next {
                return state.renewal.at.unwrap_or(due.at);
            }
            state.renewal.at
        };
        let told = match order::trust(acme) {
            Ok(trust) => renewal::ask(acme, kept, &Http::new(trust)).await,
            Err(failure) => Err(failure.why),
        };
        let (at, again) = match told {
            Ok(told) => {
                if let Some(at) = told.at.filter(|at| Some(*at) != before) {
                    let why = told.explanation;
                    info!(at = date(at), why, "the authority suggests when to renew the certificate");
                }
                (told.at, told.again)
            }
            Err(why) => {
                warn!(why, "the authority does not say when to renew the certificate");
                (before, renewal::AFTER_FAILURE)
            }
        };
        let mut state = self.state();
        if state.renewal.of.as_ref() == Some(kept) {
            (state.renewal.at, state.renewal.next) = (at, now + again.as_secs());
        }
        at.unwrap_or(due.at)
    }

    fn of(&self, acme: &Acme) -> Folder {
        Folder::of(&self.folder, acme)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
