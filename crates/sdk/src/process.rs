//! One process of services, from its listener to its last request.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Resources, Service, StartError, environment::Environment, host::Host, serve::serve};

/// How long a stop waits for what is under way.
const DRAIN: Duration = Duration::from_secs(8);

/// One process of services: listening, and once started, ready.
pub(crate) struct Process {
    host: Host,
    stopping: CancellationToken,
    server: JoinHandle<()>,
}

impl Process {
    /// Answers "not ready" on the listener until the services are started.
    pub(crate) fn new(
        listener: TcpListener,
        services: Vec<Service>,
        environment: &Environment,
    ) -> Result<Self, StartError> {
        let stopping = CancellationToken::new();
        let host = Host::new(services, environment, stopping.clone())?;
        let server = tokio::spawn(serve(listener, host.clone(), stopping.clone()));
        Ok(Self { host, stopping, server })
    }

    /// Makes the services ready.
    pub(crate) async fn start(&self) -> Result<(), StartError> {
        self.host.start().await
    }

    /// What one of its services has, once it is started.
    pub(crate) fn resources(&self, service: &str) -> Option<Resources> {
        self.host.resources(service)
    }

    /// Waits for what ends a process from within.
    pub(crate) async fn failed(&self) -> StartError {
        self.host.failed().await
    }

    /// Accepts nothing more and lets what is under way finish, for a bounded time. Whether it all did.
    pub(crate) async fn stop(self) -> bool {
        self.stopping.cancel();
        let Self { host, mut server, .. } = self;
        let drained = tokio::time::timeout(DRAIN, async {
            // A server that panicked has nothing under way.
            let _ = (&mut server).await;
            host.stop().await;
        });
        let finished = drained.await.is_ok();
        server.abort();
        finished
    }
}

/// Takes a port of the loopback address; any free one for 0.
pub(crate) async fn bind(port: u16) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.map_err(|source| StartError::Listen { port, source })
}
