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
        host.tell_the_rest().await;
        server.abort();
        finished
    }
}

/// Takes a port of the loopback address; any free one for 0.
pub(crate) async fn bind(port: u16) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.map_err(|source| StartError::Listen { port, source })
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::Notify,
    };

    use super::*;

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_says_that_it_is_not_ready_until_it_is_prepared() {
        static PREPARED: Notify = Notify::const_new();
        let service = Service::new("slow")
            .routes(Router::new().route("/", get(|| async { "here" })))
            .prepare(|_| async {
                PREPARED.notified().await;
                Ok(())
            });
        let listener = bind(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let process = Process::new(listener, vec![service], &Environment::default()).unwrap();
        let (started, ()) = tokio::join!(process.start(), async {
            assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 503 "));
            assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200 "));
            let early = ask(address, "/").await;
            assert!(early.contains("retry-after: 1") && early.contains("MDG-CALL-001"), "{early}");
            PREPARED.notify_one();
        });
        started.unwrap();
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        assert!(ask(address, "/").await.ends_with("here"));
        assert!(process.stop().await);
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_holds_the_process_up_for_a_bounded_time() {
        let stubborn = Service::new("stubborn").background(|_| std::future::pending());
        let listener = bind(0).await.unwrap();
        let process = Process::new(listener, vec![stubborn], &Environment::default()).unwrap();
        process.start().await.unwrap();
        let started = tokio::time::Instant::now();
        assert!(!process.stop().await);
        assert_eq!(started.elapsed().as_secs(), DRAIN.as_secs());
    }
}
