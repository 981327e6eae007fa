//! The gateway's certificates as a node keeps them: read from files, read again when these change, had of an authority on
//! the network, or made here.
//!
//! What is in force stays in force until something better is there: files that cannot be used are said to be so, and
//! change nothing.

mod acme;
mod development;
mod files;
mod keep;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_gateway::{Certificate, Credentials, Snapshot, Tls};
use madang_model::{GatewayTls, System};
use madang_wire::admin::EventKind;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use self::{
    acme::{Asked, Due, Keeper},
    development::Development,
    files::Stamps,
};
use crate::{
    node::{Shared, now, with_causes},
    secrets::Keys,
};

pub(crate) use self::acme::Orders;
pub use self::files::CertificateError;

/// How often it is looked whether a file has changed. Files come by links and over networks, of which nobody is told.
const LOOK: Duration = Duration::from_secs(2);

/// The certificates of a node's gateway. Clones share them.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<Kept>);

struct Kept {
    development: Development,
    acme: Keeper,
    current: Mutex<Option<Current>>,
    counts: Mutex<Counts>,
}

/// What is shown and asked, and where it came from.
#[derive(Clone)]
pub(crate) struct Current {
    said: GatewayTls,
    tls: Tls,
    read: Read,
    /// Where the secrets of the system are.
    secrets: PathBuf,
}

/// What was read.
#[derive(Clone)]
struct Read {
    /// What the files were then.
    stamps: Stamps,
    ends: Vec<CertificateEnd>,
    /// When to make a new certificate, in seconds since 1970, if it is made here.
    renew: Option<u64>,
    /// When to ask an authority for another, if one is asked.
    due: Option<Due>,
}

/// When a certificate has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateEnd {
    /// The first host that it is for; that of an address has none.
    pub(crate) name: String,
    /// In seconds since 1970.
    pub(crate) at: u64,
}

/// What became of reading files again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reloaded: u64,
    pub(crate) failed: u64,
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Watch {
    /// The files as they were at the last look: a change is over when they are still so.
    last: Option<Stamps>,
    /// What was tried and could not be used, and what was said of it.
    failed: Option<(Stamps, String)>,
}

/// Asks an authority for certificates until the node is told to stop.
pub(crate) async fn ask(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let asking = shared.certificates.ask(now());
        match shared.stopping.run_until_cancelled(asking).await {
            None => return,
            Some(Some((kind, what))) => shared.announce(kind, &what),
            Some(None) => {}
        }
    }
}

/// Looks until the node has stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let certificates = shared.certificates.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let found = certificates.look(&mut watch, now() / 1000);
            (watch, found)
        });
        // A look that panics is a bug; the next one begins anew.
        let (seen, found) = looking.await.unwrap_or_default();
        watch = seen;
        if let Some((kind, what)) = found {
            shared.announce(kind, &what);
        }
    }
}

// === impl Certificates ===

impl Certificates {
    /// Those of a node that keeps what is its own in this folder.
    pub(crate) fn new(data: PathBuf) -> Self {
        Self::patient(data, acme::PATIENCE, Keys::of_process())
    }

    /// The same, with this patience with an authority that signs, and these keys to secrets.
    fn patient(data: PathBuf, patience: acme::Patience, keys: Keys) -> Self {
        let folder = data.join("tls");
        let acme = Keeper::new(folder.join("acme"), patience, keys);
        let development = Development::new(folder);
        Self(Arc::new(Kept { development, acme, current: Mutex::default(), counts: Mutex::default() }))
    }

    /// Those that a system wants shown, if it wants any: the ones in force if it says nothing else of them.
    ///
    /// # Errors
    /// If they cannot be used.
    pub(crate) fn of(&self, system: &System) -> Result<Option<Current>, CertificateError> {
        let Some(said) = &system.gateway.tls else { return Ok(None) };
        if let Some(current) = self.current().as_ref().filter(|current| current.said == *said) {
            return Ok(Some(current.clone()));
        }
        let (credentials, read) = self.read(said, now() / 1000)?;
        let tls = Tls::new(credentials)?;
        Ok(Some(Current { said: said.clone(), tls, read, secrets: system.secrets.clone() }))
    }

    /// They are in force from now on.
    pub(crate) fn in_force(&self, current: Option<Current>) {
        if current.as_ref().is_none_or(|current| current.said.acme.is_none()) {
            self.0.acme.rest();
        }
        *self.current() = current;
    }

    /// When each of those in force has ended.
    pub(crate) fn ends(&self) -> Vec<CertificateEnd> {
        self.current().as_ref().map(|current| current.read.ends.clone()).unwrap_or_default()
    }

    /// How often what was read again came into force, and how often it did not.
    pub(crate) fn counts(&self) -> Counts {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often an authority was asked for one.
    pub(crate) fn orders(&self) -> Orders {
        self.0.acme.orders()
    }

    /// Why an authority gives none.
    pub(crate) fn trouble(&self) -> Option<String> {
        let (why, next) = self.0.acme.trouble()?;
        Some(format!(
            "no new certificate: {why}; the next attempt is not before {}",
            date(next.div_ceil(1000))
        ))
    }

    /// How the gateway in force is spoken to over TLS, if it is.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.current().as_ref().map(|current| current.tls.clone())
    }

    /// The file with the authority that signs those that are made here, if any is in force.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        let current = self.current();
        current.as_ref().filter(|current| current.said.development).map(|_| self.0.development.authority())
    }

    /// Looks whether something else is to be shown, and says what came of it if it is news.
    fn look(&self, watch: &mut Watch, now: u64) -> Option<(EventKind, String)> {
        let current = self.current().clone()?;
        let stamps = Stamps::of(&current.said);
        let still = watch.last.replace(stamps.clone()).is_some_and(|last| last == stamps);
        let tried = watch.failed.as_ref().is_some_and(|(failed, _)| *failed == stamps);
        let changed = still && stamps != current.read.stamps && !tried;
        let due = current.read.renew.is_some_and(|renew| now >= renew);
        if !changed && !due {
            return None;
        }
        match self.show_again(&current, now) {
            Ok(what) => {
                let kind =
                    if watch.failed.take().is_some() { EventKind::Recovered } else { EventKind::Applied };
                Some((kind, what))
            }
            Err(why) => {
                let before = watch.failed.replace((stamps, why.clone()));
                before.is_none_or(|(_, before)| before != why).then_some((EventKind::Degraded, why))
            }
        }
    }

    /// Asks an authority for a certificate if it is time to, and says what came of it if it is news. The time is in
    /// milliseconds since 1970.
    async fn ask(&self, now: u64) -> Option<(EventKind, String)> {
        let current = self.current().clone()?;
        let (acme, due) = (current.said.acme.as_ref()?, current.read.due.as_ref()?);
        match self.0.acme.ask(acme, due, &current.tls, &current.secrets, now).await? {
            Asked::Failed { why, news } => {
                warn!(why, "an authority gives no certificate");
                news.then(|| (EventKind::Degraded, format!("no new certificate: {why}")))
            }
            Asked::Issued { recovered } => {
                let certificates = self.clone();
                let showing =
                    tokio::task::spawn_blocking(move || certificates.show_again(&current, now / 1000));
                let shown = showing.await.unwrap_or_else(|panic| Err(panic.to_string()));
                let kind = if recovered { EventKind::Recovered } else { EventKind::Applied };
                Some(shown.map_or_else(|why| (EventKind::Degraded, why), |what| (kind, what)))
            }
        }
    }

    /// Shows what is there now, or says why what is in force stays.
    fn show_again(&self, current: &Current, now: u64) -> Result<String, String> {
        let replaced = self.read(&current.said, now).and_then(|(credentials, read)| {
            not_worse(&current.read, &read, now)?;
            current.tls.replace(credentials)?;
            Ok(read)
        });
        match replaced {
            Ok(read) => {
                self.count(|counts| &mut counts.reloaded);
                let what = format!("another certificate is in force: {}", in_words(&read.ends));
                // Unless the manifest has said something else meanwhile.
                if let Some(same) = self.current().as_mut().filter(|it| it.said == current.said) {
                    same.read = read;
                }
                Ok(what)
            }
            Err(error) => {
                self.count(|counts| &mut counts.failed);
                let why = format!("the certificate in force stays: {}", with_causes(&error));
                warn!(why, "failed to read the certificates of the gateway again");
                Err(why)
            }
        }
    }

    fn read(&self, said: &GatewayTls, now: u64) -> Result<(Credentials, Read), CertificateError> {
        // Before they are read, so that a change meanwhile is seen at the next look.
        let stamps = Stamps::of(said);
        let mut certificates =
            said.certificates.iter().map(files::certificate).collect::<Result<Vec<_>, _>>()?;
        let (mut renew, mut due) = (None, None);
        if let Some(acme) = &said.acme {
            let (kept, next) = self.0.acme.certificate(acme);
            certificates.extend(kept);
            due = Some(next);
        }
        if said.development {
            let made = self.0.development.certificate(now)?;
            renew = Some(development::half_life(&made));
            certificates.push(made);
        }
        let clients = match &said.clients {
            Some(clients) => Some(files::clients(clients)?),
            None => None,
        };
        let end = |certificate: &Certificate| CertificateEnd {
            name: certificate.names().first().cloned().unwrap_or_default(),
            at: certificate.ends(),
        };
        let read = Read { stamps, ends: certificates.iter().map(end).collect(), renew, due };
        let (min_version, acme) = (said.min_version, said.acme.is_some());
        Ok((Credentials { certificates, min_version, clients, acme }, read))
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, which: fn(&mut Counts) -> &mut u64) {
        *which(&mut self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)) += 1;
    }
}

// === impl Current ===

impl Current {
    /// A snapshot of the same system that shows and asks this.
    pub(crate) fn secure(this: Option<&Self>, snapshot: Snapshot, system: &System) -> Snapshot {
        match this {
            Some(current) => snapshot.over_tls(system, current.tls.clone()),
            None => snapshot,
        }
    }
}

/// A certificate that has ended is no better than one that has not.
fn not_worse(before: &Read, after: &Read, now: u64) -> Result<(), CertificateError> {
    let ended = |read: &Read| read.ends.iter().find(|end| end.at <= now).cloned();
    match (ended(before), ended(after)) {
        (None, Some(end)) => Err(CertificateError::Ended { name: end.name, at: date(end.at) }),
        _ => Ok(()),
    }
}

fn in_words(ends: &[CertificateEnd]) -> String {
    let one = |end: &CertificateEnd| {
        let name = if end.name.is_empty() { "an address" } else { &end.name };
        format!("for {name} until {}", date(end.at))
    };
    ends.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
}
