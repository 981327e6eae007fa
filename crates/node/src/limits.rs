//! Where shared rate limits are counted, as a node reaches it: by name, over TLS if the manifest says so, with the password
//! that the system's secrets hold. The gateway decides when, and what is said.

use std::{
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use madang_calls::Trust;
use madang_gateway::{Connected, LimitConnector, Stream};
use madang_model::{System, edge::LimitStore};
use madang_wire::admin::EventKind;
use tokio::{
    net::TcpStream,
    sync::{OnceCell, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    node::{Shared, with_causes},
    secrets::{Keys, Secrets},
};

/// How often it is looked how the store does.
const LOOK: Duration = Duration::from_millis(250);

/// Connects to the store that the manifest names.
pub(crate) struct Connector {
    system: watch::Receiver<Arc<System>>,
    trust: OnceCell<Trust>,
}

// === impl Connector ===

impl Connector {
    /// With the secrets of the system in force.
    pub(crate) fn new(system: watch::Receiver<Arc<System>>) -> Self {
        Self { system, trust: OnceCell::new() }
    }

    async fn open(&self, store: &LimitStore) -> io::Result<Connected> {
        // Read anew each time: a password that was changed is one that the next connection has.
        let password = match store.password.clone() {
            Some(name) => Some(self.reveal(name).await?),
            None => None,
        };
        let url = &store.url;
        let plain = TcpStream::connect((url.host(), url.port())).await?;
        plain.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match url.is_tls() {
            true => Box::new(self.trust().await?.connect(url.host(), plain).await?),
            false => Box::new(plain),
        };
        Ok(Connected { stream, password })
    }

    async fn reveal(&self, name: String) -> io::Result<String> {
        let file = self.system.borrow().secrets.clone();
        let read = tokio::task::spawn_blocking(move || Secrets::at(&file, Keys::of_process()).reveal(&name));
        read.await?.map_err(|error| io::Error::other(with_causes(&error)))
    }

    /// The authorities of this machine, read when they are needed first.
    async fn trust(&self) -> io::Result<&Trust> {
        let read = || async {
            let read = tokio::task::spawn_blocking(Trust::of_this_machine).await;
            read.map_err(io::Error::other)?.map_err(io::Error::other)
        };
        self.trust.get_or_try_init(read).await
    }
}

impl LimitConnector for Connector {
    fn connect<'a>(&'a self, store: &'a LimitStore) -> BoxFuture<'a, io::Result<Connected>> {
        self.open(store).boxed()
    }
}

/// Says when limits cannot be shared, and when that is over, until the node has stopped.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match (shared.limits_trouble(), told) {
            (Some(trouble), false) => shared.announce(EventKind::Degraded, &trouble),
            (None, true) => shared.announce(EventKind::Recovered, "rate limits are shared again"),
            _ => continue,
        }
        told = !told;
    }
}

impl Shared {
    /// Why limits are not shared, if they are to be.
    pub(crate) fn limits_trouble(&self) -> Option<String> {
        let store = self.gateway.limit_store()?;
        let why = store.down?;
        Some(format!("rate limits are not shared, because {} cannot be asked: {why}", store.store))
    }

    /// What makes the system less than it should be.
    pub(crate) fn troubles(&self) -> Option<String> {
        let disk = self.degraded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rest = self.limits_trouble().into_iter().chain(self.certificates.trouble());
        let all: Vec<String> = disk.into_iter().chain(rest).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
