//! A system that runs beside itself: the same manifest with ports and databases of its own.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use madang_model::{Database, ServiceName, System};

use crate::{place::Place, ports::KeptPorts};

/// Makes the systems of one isolated node, the same after each edit.
pub(crate) struct Isolation {
    place: Place,
    kept: KeptPorts,
    ports: Mutex<BTreeMap<String, u16>>,
}

/// Why a system cannot run isolated.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// Two of it would use one database.
    #[error(
        "{service} cannot run isolated: its database is {database}, whoever runs it; give it `database = \"sqlite\"` in \
         an environment, and run that with --env"
    )]
    Shared {
        /// Whose it is.
        service: ServiceName,
        /// The database.
        database: String,
    },
    /// No port is left.
    #[error("failed to find a port for {what}")]
    Port {
        /// Who needs it.
        what: String,
        /// Why.
        source: io::Error,
    },
}

// === impl Isolation ===

impl Isolation {
    pub(crate) fn new(place: Place, kept: KeptPorts) -> Self {
        Self { place, kept, ports: Mutex::default() }
    }

    /// The system with everything its own that two nodes cannot share.
    ///
    /// # Errors
    /// If it has something that two nodes would share nevertheless.
    pub(crate) async fn of(&self, mut system: System) -> Result<System, IsolationError> {
        for service in system.services.values_mut() {
            if let Some(database) = &service.database {
                let own = self.own(database).ok_or_else(|| IsolationError::Shared {
                    service: service.name.clone(),
                    database: match database {
                        Database::Sqlite(path) => path.display().to_string(),
                        Database::Postgres(_) => "on a PostgreSQL server".to_owned(),
                    },
                })?;
                service.database = Some(Database::Sqlite(own));
            }
        }
        // Who reads the metrics of the system reads those of the one that does not run isolated.
        system.telemetry.metrics = None;
        let wanted = system.clone();
        system.gateway.listen = self.at("gateway", wanted.gateway.listen, &wanted).await?;
        if let Some(redirect) = system.gateway.tls.as_mut().and_then(|tls| tls.redirect.as_mut()) {
            *redirect = self.at("redirect", *redirect, &wanted).await?;
        }
        if let Some(issuer) = &mut system.issuer {
            issuer.listen = self.at("issuer", issuer.listen, &wanted).await?;
        }
        for service in system.services.values_mut() {
            if let Some(address) = service.listen {
                service.listen = Some(self.at(&format!("listen/{}", service.name), address, &wanted).await?);
            }
        }
        Ok(system)
    }

    /// The file that takes the place of one that Madang keeps.
    fn own(&self, database: &Database) -> Option<PathBuf> {
        let Database::Sqlite(path) = database else { return None };
        let kept = path.strip_prefix(self.place.shared_data()).ok()?;
        Some(self.place.data().join(kept))
    }

    /// The same address with a port of its own.
    async fn at(&self, key: &str, asked: SocketAddr, system: &System) -> Result<SocketAddr, IsolationError> {
        let known = self.ports.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let port = match known {
            Some(port) => port,
            None => {
                let reserved = self.kept.reserved(key, system, |_| false).await;
                reserved.map_err(|source| IsolationError::Port { what: key.to_owned(), source })?
            }
        };
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), port);
        Ok(SocketAddr::new(asked.ip(), port))
    }
}
