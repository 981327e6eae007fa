//! `madang down`: the end of a system.

use std::time::Duration;

use madang_wire::admin::{Event, InstanceView, SystemView};
use tokio::time::{Instant, timeout_at};

use super::exit::Exit;
use crate::{
    args::Format, client::Client, failure::Failure, locate::Location, output::Output, screen::Screen,
    units::elapsed,
};

/// How long what no node watches may take to end its work.
const DRAIN: Duration = Duration::from_secs(10);

/// Ends the system: by telling its node to stop, or itself where a node was killed and left its services.
pub async fn run(location: &Location, format: Format, now: bool, patience: Duration) -> Result<(), Failure> {
    let client = Client::new(location);
    let not_running = match client.get("/v1/system").await {
        Ok(system) => return stop(&client, system, format, now, patience).await,
        Err(failure @ Failure::NotRunning { .. }) => failure,
        Err(failure) => return Err(failure),
    };
    let Some(left) = location.leftovers().await? else { return Err(not_running) };
    let output = Output::new(format);
    let shown = left.count();
    let mut said = Vec::new();
    left.stop(if now { Duration::ZERO } else { DRAIN }, |line| said.push(line.to_owned())).await;
    location.clear();
    if output.is_json() {
        return Ok(());
    }
    said.iter().try_for_each(|line| output.line(line))?;
    output.line(&format!("no node ran {}; what one had left is stopped: {shown}", location.shown()))
}

/// Tells the node to stop, shows how it does, and returns once its process is gone.
async fn stop(
    client: &Client,
    system: SystemView,
    format: Format,
    now: bool,
    patience: Duration,
) -> Result<(), Failure> {
    let began = Instant::now();
    let exit = Exit::of(system.pid)?;
    let instances: Vec<InstanceView> = client.get("/v1/instances").await?;
    let mut events = client.lines::<Event>("/v1/events?follow=true").await?;
    client.post(if now { "/v1/down?now=true" } else { "/v1/down" }).await?;

    let mut screen = Screen::new(format, instances.iter().map(|instance| instance.unit.as_str()));
    screen.settle();
    let deadline = began + patience;
    let told = timeout_at(deadline, async {
        while let Some(event) = events.next().await? {
            screen.event(&event)?;
        }
        Ok::<_, Failure>(())
    });
    let gone = match told.await {
        Ok(told) => told.map(|()| true)? && exit.wait(deadline).await?,
        Err(_) => false,
    };
    if !gone {
        let what = format!("{} (process {}) still runs", system.name, system.pid);
        return Err(Failure::Timeout { what, within: madang_model::format_duration(patience) });
    }
    if screen.output.is_json() {
        return Ok(());
    }
    let took = elapsed(began.elapsed().as_millis().try_into().unwrap_or(u64::MAX));
    screen.keep(&[format!("{} is down after {took}", system.name)])
}
