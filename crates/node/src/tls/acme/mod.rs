//! A certificate that an authority on the network signs (ACME, RFC 8555): had when there is none, and anew at half its
//! life.
//!
//! Map: [`Keeper`] knows when to ask, an `order` is how; `http` carries what is said, `kept` is what stays over restarts,
//! `pause` how long nobody is asked after a failure.

mod http;
mod kept;
mod order;
mod pause;
#[cfg(test)]
mod pebble;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(super) use instant_acme::RetryPolicy as Patience;
use madang_gateway::{Certificate, Tls};
use madang_model::Acme;

use self::kept::Folder;
use super::development::half_life;

/// How long an authority may take to look whose the hosts are, and to sign.
pub(super) const PATIENCE: Patience =
    Patience::new().initial_delay(Duration::from_secs(1)).backoff(1.5).timeout(Duration::from_secs(90));

/// Has certificates of authorities. What it has is in files below its folder.
pub(super) struct Keeper {
    folder: PathBuf,
    state: Mutex<State>,
    patience: Patience,
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
    orders: Orders,
}

/// When a kept certificate is not enough any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Due {
    /// In seconds since 1970; at once if there is none, or it is not for all hosts.
    at: u64,
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
    pub(super) fn new(folder: PathBuf, patience: Patience) -> Self {
        Self { folder, state: Mutex::default(), patience }
    }

    /// The certificate that is kept, and when another is due.
    pub(super) fn certificate(&self, acme: &Acme) -> (Option<Certificate>, Due) {
        let kept = self.of(acme).certificate();
        let is_for_all = |kept: &Certificate| acme.domains.iter().all(|domain| kept.names().contains(domain));
        let at = kept.as_ref().filter(|kept| is_for_all(kept)).map_or(0, half_life);
        (kept, Due { at })
    }

    /// Asks for a certificate if one is due and it is not too soon, by the time in milliseconds since 1970.
    pub(super) async fn ask(&self, acme: &Acme, due: Due, tls: &Tls, now: u64) -> Option<Asked> {
        if now / 1000 < due.at || !self.may_ask(acme, now) {
            return None;
        }
        let ordered = order::order(acme, &self.of(acme), tls, self.patience, now / 1000).await;
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
    fn may_ask(&self, acme: &Acme, now: u64) -> bool {
        let mut state = self.state();
        if state.of.as_ref() != Some(acme) {
            *state = State { of: Some(acme.clone()), orders: state.orders, ..State::default() };
        }
        now >= state.next
    }

    fn of(&self, acme: &Acme) -> Folder {
        Folder::of(&self.folder, acme)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
