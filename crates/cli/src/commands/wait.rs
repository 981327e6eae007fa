//! `madang wait`: for scripts that go on once a system is ready, or gone.

use std::time::Duration;

use madang_wire::admin::{Event, InstanceView, State, SystemView};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::{LOOK, exit::Exit};
use crate::{args::Status, client::Client, failure::Failure, output::Output};

/// How often to look whether a node has come: nothing tells of it.
const APPEARS: Duration = Duration::from_millis(50);

/// Waits for a status of the whole system.
pub async fn run(
    client: &Client,
    output: &Output,
    status: Status,
    patience: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    let what = match status {
        Status::Ready => match timeout_at(deadline, ready(client)).await {
            Ok(ready) => return say(output, "ready", ready?),
            Err(_) => format!("the system is not ready: {}", unready(client).await?),
        },
        Status::Down => match client.get::<SystemView>("/v1/system").await {
            Err(Failure::NotRunning { .. }) => return Ok(()),
            Err(failure) => return Err(failure),
            Ok(system) if Exit::of(system.pid)?.wait(deadline).await? => return say(output, "down", system),
            Ok(system) => format!("{} still runs", system.name),
        },
    };
    Err(Failure::Timeout { what, within: madang_model::format_duration(patience) })
}

/// Returns once a node runs the system: whoever waits may be quicker than whoever starts it.
async fn running(client: &Client) -> Result<(), Failure> {
    let mut look = interval(APPEARS);
    loop {
        look.tick().await;
        match client.get::<SystemView>("/v1/system").await {
            Err(Failure::NotRunning { .. }) => {}
            answer => return answer.map(drop),
        }
    }
}

/// Returns once every unit is ready.
async fn ready(client: &Client) -> Result<SystemView, Failure> {
    running(client).await?;
    let mut events = client.lines::<Event>("/v1/events?follow=true").await?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let system: SystemView = client.get("/v1/system").await?;
        if system.ready {
            return Ok(system);
        }
        tokio::select! {
            event = events.next() => drop(event?),
            _ = look.tick() => {}
        }
    }
}

/// What keeps the system from being ready, for whoever waited in vain.
async fn unready(client: &Client) -> Result<String, Failure> {
    let instances: Vec<InstanceView> = client.get("/v1/instances").await?;
    let waiting = instances.iter().filter(|instance| instance.state != State::Ready);
    let waiting: Vec<_> = waiting.map(|instance| format!("{}: {}", instance.name, instance.health)).collect();
    Ok(waiting.join("; "))
}

fn say(output: &Output, status: &str, system: SystemView) -> Result<(), Failure> {
    if output.is_json() { output.json(&system) } else { output.line(&format!("{} is {status}", system.name)) }
}
