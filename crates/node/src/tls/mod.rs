//! The gateway's certificates as a node keeps them: read from files, read again when these change, or made here.
//!
//! What is in force stays in force until something better is there: files that cannot be used are said to be so, and
//! change nothing.

mod development;
mod files;
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

use self::{development::Development, files::Stamps};
use crate::node::{Shared, now, with_causes};

pub use self::files::CertificateError;

/// How often it is looked whether a file has changed. Files come by links and over networks, of which nobody is told.
const LOOK: Duration = Duration::from_secs(2);

/// The certificates of a node's gateway. Clones share them.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<Kept>);

struct Kept {
    development: Development,
    current: Mutex<Option<Current>>,
    counts: Mutex<Counts>,
}

/// What is shown and asked, and where it came from.
#[derive(Clone)]
pub(crate) struct Current {
    said: GatewayTls,
    tls: Tls,
    read: Read,
}

/// What was read.
#[derive(Clone)]
struct Read {
    /// What the files were then.
    stamps: Stamps,
    ends: Vec<CertificateEnd>,
    /// When to make a new certificate, in seconds since 1970, if it is made here.
    renew: Option<u64>,
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
        let development = Development::new(data.join("tls"));
        Self(Arc::new(Kept { development, current: Mutex::default(), counts: Mutex::default() }))
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
        Ok(Some(Current { said: said.clone(), tls, read }))
    }

    /// They are in force from now on.
    pub(crate) fn in_force(&self, current: Option<Current>) {
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
                let kind =
                    if watch.failed.take().is_some() { EventKind::Recovered } else { EventKind::Applied };
                Some((kind, what))
            }
            Err(error) => {
                self.count(|counts| &mut counts.failed);
                let why = format!("the certificate in force stays: {}", with_causes(&error));
                warn!(why, "failed to read the certificates of the gateway again");
                let before = watch.failed.replace((stamps, why.clone()));
                before.is_none_or(|(_, before)| before != why).then_some((EventKind::Degraded, why))
            }
        }
    }

    fn read(&self, said: &GatewayTls, now: u64) -> Result<(Credentials, Read), CertificateError> {
        // Before they are read, so that a change meanwhile is seen at the next look.
        let stamps = Stamps::of(said);
        let mut certificates =
            said.certificates.iter().map(files::certificate).collect::<Result<Vec<_>, _>>()?;
        let mut renew = None;
        if said.development {
            let made = self.0.development.certificate(now)?;
            renew = Some(development::half_life(&made));
            certificates.push(made);
        }
        let clients = match &said.clients {
            Some(clients) => Some((files::authorities(&clients.authorities)?, clients.required)),
            None => None,
        };
        let end = |certificate: &Certificate| CertificateEnd {
            name: certificate.names().first().cloned().unwrap_or_default(),
            at: certificate.ends(),
        };
        let read = Read { stamps, ends: certificates.iter().map(end).collect(), renew };
        Ok((Credentials { certificates, min_version: said.min_version, clients }, read))
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
