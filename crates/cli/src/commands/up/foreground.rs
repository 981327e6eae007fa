//! A node in this process, until it is told to stop.

use std::{fs::OpenOptions, io};

use anyhow::Context;
use madang_model::{ServiceName, manifest};
use madang_node::{Node, NodeConfig, StartError};
use madang_wire::admin::Event;

use super::{signals::Signals, start, summary};
use crate::{
    args::Format,
    client::{Client, Lines},
    failure::Failure,
    journal,
    locate::Location,
    screen::Screen,
};

/// Runs the system until a signal or `madang down` ends it. Whatever the outcome, nothing is left behind.
pub async fn run(
    location: &Location,
    format: Format,
    own_session: bool,
    except: &[ServiceName],
) -> Result<(), Failure> {
    if own_session {
        rustix::process::setsid().map_err(io::Error::from).context("failed to leave the session")?;
    }
    let loaded = crate::manifest::load(location)?;
    let except = start::excepted(&loaded.system, except)?;
    let manifest = manifest::find(location.given()).map_err(Failure::Manifest)?;
    let environment = location.environment().map(str::to_owned);
    let isolated = location.isolated().map(str::to_owned);
    journal::start(&location.logs()).context("failed to open the node's own log")?;
    let signals = Signals::catch()?;
    let node = Node::start(NodeConfig { manifest, environment, workers: None, except, isolated })
        .await
        .map_err(not_started)?;
    if own_session {
        let_go(location)?;
    }
    let screen = Screen::new(format, loaded.system.units.keys().map(|unit| unit.as_str())).lasting();
    Running { node, signals, screen, client: Client::new(location) }.run(location).await
}

/// A node that runs, and who looks on.
struct Running {
    node: Node,
    signals: Signals,
    screen: Screen,
    client: Client,
}

/// How the time until every unit is ready ended.
enum Start {
    Ready,
    Interrupted,
    Ended,
}

// === impl Running ===

impl Running {
    async fn run(mut self, location: &Location) -> Result<(), Failure> {
        let mut events = match start::events(&self.client).await {
            Ok(events) => events,
            Err(failure) => {
                self.node.stop();
                self.node.wait().await.map_err(anyhow::Error::from)?;
                return Err(failure);
            }
        };
        let outcome = match self.start(&mut events).await {
            Ok(Start::Ready) => self.serve(&mut events, location).await,
            // Whoever interrupts may know it before this does.
            Ok(Start::Interrupted) if start::ready(&self.client).await.unwrap_or(false) => Ok(()),
            Ok(Start::Interrupted) => Err(Failure::message("interrupted before every unit was ready")),
            Ok(Start::Ended) => Err(Failure::message("told to stop before every unit was ready")),
            Err(failure) => Err(failure),
        };
        self.screen.settle();
        self.stop(events).await.and(outcome)
    }

    async fn start(&mut self, events: &mut Lines<Event>) -> Result<Start, Failure> {
        tokio::select! {
            started = start::follow(&self.client, events, &mut self.screen) => started.map(|()| Start::Ready),
            () = self.signals.next() => Ok(Start::Interrupted),
            ended = self.node.wait() => Ok(ended.map(|()| Start::Ended).map_err(anyhow::Error::from)?),
        }
    }

    /// Says where everything is, then shows what happens until it is time to stop.
    async fn serve(&mut self, events: &mut Lines<Event>, location: &Location) -> Result<(), Failure> {
        if !self.screen.output.is_json() {
            let mut lines = summary::lines(&self.client, location, self.screen.output.style()).await?;
            lines.push("\nCtrl-C stops.".to_owned());
            self.screen.tick()?;
            self.screen.settle();
            self.screen.keep(&lines)?;
        }
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => self.screen.event(&event)?,
                    None => return Ok(()),
                },
                () = self.signals.next() => return Ok(()),
                ended = self.node.wait() => return Ok(ended.map_err(anyhow::Error::from)?),
            }
        }
    }

    /// Stops gracefully; at once if told a second time. Showing it is not worth failing for.
    async fn stop(mut self, mut events: Lines<Event>) -> Result<(), Failure> {
        self.node.stop();
        let mut open = true;
        let ended = loop {
            tokio::select! {
                biased;
                event = events.next(), if open => match event {
                    Ok(Some(event)) => drop(self.screen.event(&event)),
                    Ok(None) | Err(_) => open = false,
                },
                () = self.signals.next() => self.node.stop_now(),
                ended = self.node.wait() => break ended,
            }
        };
        // The node is gone, and with it the stream: what is left of it is already on its way.
        while open && let Ok(Some(event)) = events.next().await {
            drop(self.screen.event(&event));
        }
        Ok(ended.map_err(anyhow::Error::from)?)
    }
}

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Manifest(errors) => Failure::Manifest(errors),
        error => Failure::Failed(error.into()),
    }
}

/// Lets go of stdin, so that whoever holds its other end learns that the node listens, and of stdout: what is
/// shown there is in the node's log. What is said on stderr, a panic at the worst, goes there too from now on.
fn let_go(location: &Location) -> Result<(), Failure> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(journal::open(&location.logs())?).map_err(io::Error::from)?;
    rustix::stdio::dup2_stdout(&null).map_err(io::Error::from)?;
    Ok(rustix::stdio::dup2_stdin(&null).map_err(io::Error::from)?)
}
