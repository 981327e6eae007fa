//! A process, as an operating system sees it: runtime, signals, exit code.

use std::{io::IsTerminal, process::ExitCode};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    IntoServices, Service, StartError,
    environment::Environment,
    error::chain,
    logs,
    process::{Process, bind},
};

/// Runs a service, or several in one process, until the process is told to stop.
///
/// The environment says where: `PORT` (any free one if absent), `DATABASE_URL` or, for several services,
/// `ORDERS_DATABASE_URL` and so on, and `MADANG_URL` with `MADANG_TOKEN` if a node runs it. Without a node
/// `USERS_URL=http://127.0.0.1:3001` says where another service is.
///
/// SIGTERM or SIGINT stops it: nothing more is accepted, what is under way finishes within eight seconds, and
/// the exit code is 0. A second signal ends it at once. What cannot start says why in one line on stderr and
/// exits with 1.
pub fn run(services: impl IntoServices) -> ExitCode {
    let services = services.into_services();
    let ended = Environment::read().and_then(|environment| {
        logs::start(&environment, &services);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Process)?;
        let ended = runtime.block_on(until_stopped(services, &environment));
        // What is left after the drain must not hold up the exit.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::fatal(&chain(&error), std::io::stderr().is_terminal());
            ExitCode::FAILURE
        }
    }
}

async fn until_stopped(services: Vec<Service>, environment: &Environment) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    // First, so that a clash of ports shows before anything else is touched.
    let listener = bind(environment.port).await?;
    let url =
        listener.local_addr().map(|address| format!("http://{address}")).map_err(StartError::Process)?;
    let process = Process::new(listener, services, environment)?;
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        ended = async {
            process.start().await?;
            tracing::info!(url, "ready");
            Err(process.failed().await)
        } => ended,
    };
    tracing::info!("stopping");
    let finished = tokio::select! {
        finished = process.stop() => finished,
        () = signals.next() => false,
    };
    if !finished {
        tracing::warn!("stopped before everything under way was done");
    }
    ended
}

/// The signals that tell a process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(StartError::Process);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.terminate.recv() => (), _ = self.interrupt.recv() => () }
    }
}
