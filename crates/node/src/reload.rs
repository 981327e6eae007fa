//! The manifest read again, and its difference put into force.

use std::{
    net::TcpListener,
    sync::{Arc, PoisonError},
};

use madang_gateway::{Listener, Snapshot};
use madang_model::{System, manifest};
use madang_wire::admin::EventKind;
use tracing::warn;

use crate::{
    StartError, difference,
    doors::{DoorError, Plan},
    holder,
    isolation::IsolationError,
    issuer,
    node::{Shared, with_causes},
    tls::{CertificateError, Current},
};

/// What became of reading the manifest again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The difference is in force.
    Changed,
    /// There was none.
    Same,
    /// It is not valid.
    Refused,
    /// It is valid, but something on this machine is in its way: a port that somebody else holds.
    Hindered,
}

/// What is in the way of a manifest that is valid.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Gateway(#[from] madang_gateway::Error),
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Issuer(#[from] StartError),
    #[error("failed to read the secret of a client: {0}")]
    Secret(String),
}

impl Shared {
    /// Reads the manifest again and puts the difference into force, or says why not and leaves all as it is.
    pub(crate) async fn reload(&self) -> Reload {
        let (manifest, environment) = (self.manifest.clone(), self.environment.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            let loaded =
                crate::manifest::load(&manifest, environment.as_deref(), &|name| std::env::var(name).ok());
            loaded.map(|loaded| loaded.system)
        });
        let outcome = match loaded.await {
            Ok(Ok(system)) => self.apply(system).await.map_err(|error| (Reload::Hindered, error.in_words())),
            Ok(Err(errors)) => Err((Reload::Refused, reasons(&errors))),
            Err(panic) => Err((Reload::Refused, panic.to_string())),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(applied) => {
                let was_refused = refused.take().is_some();
                if was_refused && applied == Reload::Same {
                    self.announce(EventKind::Applied, "the manifest is what it was and in force");
                }
                applied
            }
            Err((why, reason)) => {
                if refused.as_ref() != Some(&reason) {
                    self.announce(EventKind::Refused, &reason);
                }
                *refused = Some(reason);
                why
            }
        }
    }

    /// Routes first, so that requests for a new service wait for it and none reaches one that is leaving.
    async fn apply(&self, system: System) -> Result<Reload, Hindrance> {
        let system = Arc::new(match &self.isolation {
            Some(isolation) => isolation.of(system).await?,
            None => system,
        });
        let before = self.system.borrow().clone();
        if *before == *system {
            return Ok(Reload::Same);
        }
        let settings = issuer::settings(&system, &self.gateway_secret).await.map_err(Hindrance::Secret)?;
        let secret = issuer::client_secret(&system, &self.gateway_secret).await.map_err(Hindrance::Secret)?;
        let _applying = self.applying.lock().await;
        let plan = self.plan(&system).await?;
        let (snapshot, shown) = self.compile(&system, &plan)?;
        let listening = self.issuer_listening.plan(&system, self.leaves(&system, &snapshot).await?).await?;
        let left = self.issuer_listening.left(listening.as_ref(), &snapshot)?;
        self.put_in_force(snapshot, shown, plan, left).await?;
        self.issuer.follow(settings);
        self.identity.take_client_secret(secret);
        self.issuer_listening.commit(listening);
        self.system.send_replace(system.clone());
        self.switchboard.declare(system.services.keys().cloned());
        let changed = difference::in_words(&before, &system);
        self.supervisor.apply(system);
        self.announce(EventKind::Applied, &format!("the manifest is in force: {changed}"));
        Ok(Reload::Changed)
    }

    /// Has the gateway follow the faults in force; services that call others are told by the service API.
    pub(crate) async fn follow_faults(&self) {
        self.refresh("the gateway does not follow the faults", |_| true).await;
    }

    /// Closes the doors that nobody is told of any more.
    pub(crate) async fn settle_doors(&self) {
        self.refresh("doors stay open that are not used any more", |plan| plan.differs(&self.doors)).await;
    }

    /// Has the gateway do what the system in force says, if it is worth it with the doors that there should be.
    async fn refresh(&self, failed: &str, worth_it: impl FnOnce(&Plan) -> bool) {
        let _applying = self.applying.lock().await;
        let system = self.system.borrow().clone();
        let outcome = match self.plan(&system).await {
            Ok(plan) if !worth_it(&plan) => return,
            Ok(plan) => self.open(&system, plan).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome
            && !self.stopping.is_cancelled()
        {
            warn!(error = with_causes(&error), failed, "the gateway does not follow");
        }
    }

    async fn plan(&self, system: &System) -> Result<Plan, DoorError> {
        let told = self.supervisor.told_from().borrow().clone();
        self.doors.plan(system, &told).await
    }

    /// The gateway's socket at which the built-in issuer is to listen, if the gateway leaves it.
    async fn leaves(&self, system: &System, next: &Snapshot) -> Result<Option<TcpListener>, Hindrance> {
        let Some(address) = system.issuer.as_ref().map(|issuer| issuer.listen) else { return Ok(None) };
        if next.listens_at(address) {
            return Ok(None);
        }
        let socket = self.gateway.socket(address).await;
        Ok(socket.map_err(|source| StartError::IssuerListener { address, source })?)
    }

    /// Has the gateway do what a system says, with the faults in force and these doors.
    async fn open(&self, system: &System, plan: Plan) -> Result<(), Hindrance> {
        let (snapshot, shown) = self.compile(system, &plan)?;
        self.put_in_force(snapshot, shown, plan, None).await
    }

    /// What the gateway is to do for a system, and what it shows.
    fn compile(&self, system: &System, plan: &Plan) -> Result<(Snapshot, Option<Current>), Hindrance> {
        let faults = |origin: &_, callee: &_| self.faults.at(origin, callee);
        let shown = self.certificates.of(system)?;
        let snapshot = Snapshot::compile(system, &self.directory, &plan.doors, &faults, &self.identity)?;
        let snapshot = Current::secure(shown.as_ref(), snapshot, system);
        Ok((snapshot, shown))
    }

    /// Has the gateway do what was compiled, with the sockets of doors and one that the built-in issuer leaves.
    async fn put_in_force(
        &self,
        snapshot: Snapshot,
        shown: Option<Current>,
        plan: Plan,
        left: Option<Listener>,
    ) -> Result<(), Hindrance> {
        let (mut listeners, open) = plan.split();
        listeners.extend(left);
        self.gateway.apply(snapshot, listeners).await?;
        self.certificates.in_force(shown);
        self.doors.opened(open);
        Ok(())
    }
}

impl Hindrance {
    /// With who has the port, if that is it, and all that caused it.
    fn in_words(&self) -> String {
        let taken = match self {
            Self::Gateway(error) => holder::taken(error),
            Self::Door(_) | Self::Isolation(_) | Self::Certificate(_) | Self::Issuer(_) | Self::Secret(_) => {
                None
            }
        };
        taken.unwrap_or_else(|| with_causes(self))
    }
}

/// Each problem on a line, with its place. `madang check` shows the same with the text around it.
fn reasons(errors: &manifest::Errors) -> String {
    let lines = errors.iter().map(|error| match error.place() {
        Some(place) => format!("{place}: {error}"),
        None => error.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
