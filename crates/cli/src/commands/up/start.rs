//! The first start of a system, from outside: events in, ready or failed out.

use std::time::Duration;

use madang_model::{ServiceName, System};
use madang_wire::admin::{Event, EventKind, SystemView};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    client::{Client, Lines},
    failure::Failure,
    progress::is_fatal,
    screen::Screen,
};

/// How often the times on the screen are drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// The names of what a person runs, if they are names of units or services of the system.
pub fn excepted(system: &System, names: &[ServiceName]) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    madang_node::excepted(system, &names).map_err(|error| Failure::Failed(error.into()))?;
    Ok(names)
}

/// Everything that happened since the node began, and what happens.
pub async fn events(client: &Client) -> Result<Lines<Event>, Failure> {
    client.lines("/v1/events?follow=true&recent=true").await
}

/// Shows what happens until every unit is ready; or until one cannot be, in a system that was taken over: what went
/// on without a node does not end because of it.
///
/// # Errors
/// If a unit cannot be built or started, or the node ends.
pub async fn follow(client: &Client, events: &mut Lines<Event>, screen: &mut Screen) -> Result<(), Failure> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken_over = false;
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event? else {
                    return Err(Failure::message("the node ended before every unit was ready"));
                };
                screen.event(&event)?;
                taken_over |= event.kind == EventKind::Adopted;
                if is_fatal(event.kind) && taken_over {
                    return Ok(());
                }
                if is_fatal(event.kind) {
                    return Err(Failure::message(format!("{} did not start", event.unit)));
                }
                if event.kind == EventKind::Ready && ready(client).await? {
                    return Ok(());
                }
            }
            _ = tick.tick() => {
                screen.tick()?;
                if ready(client).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether every unit is ready.
pub async fn ready(client: &Client) -> Result<bool, Failure> {
    Ok(client.get::<SystemView>("/v1/system").await?.ready)
}
