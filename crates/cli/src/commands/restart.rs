//! `madang restart`: new instances for one unit.

use madang_wire::admin::{Event, EventKind, InstanceView, ServiceView, State};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use super::LOOK;
use crate::{
    args::{Format, Restart},
    client::{Client, Lines},
    failure::Failure,
    progress::is_fatal,
    screen::Screen,
    units,
};

/// Restarts a unit and waits until all of its instances are new and ready.
pub async fn run(client: &Client, format: Format, restart: &Restart) -> Result<(), Failure> {
    let deadline = Instant::now() + restart.timeout;
    let events = client.lines::<Event>("/v1/events?follow=true").await?;
    let asked_at = units::now();
    client.post(&format!("/v1/restart/{}", restart.name)).await?;
    if restart.no_wait {
        return Ok(());
    }
    let unit = unit_of(client, restart.name.as_str()).await?;
    let mut screen = Screen::new(format, [unit.as_str()]);
    let replaced = replaced(client, &unit, asked_at, events, &mut screen);
    match timeout_at(deadline, replaced).await {
        Ok(replaced) => replaced,
        Err(_) => Err(Failure::Timeout {
            what: format!("the instances of {unit} are still not new and ready"),
            within: madang_model::format_duration(restart.timeout),
        }),
    }
}

/// A name is a service's or a unit's.
pub async fn unit_of(client: &Client, name: &str) -> Result<String, Failure> {
    match client.get::<ServiceView>(&format!("/v1/services/{name}")).await {
        Ok(service) => Ok(service.unit.unwrap_or(service.name)),
        Err(Failure::Answer(_)) => Ok(name.to_owned()),
        Err(failure) => Err(failure),
    }
}

/// Shows the next event of the unit; one after which there is nothing to wait for is a failure.
pub async fn shown(events: &mut Lines<Event>, unit: &str, screen: &mut Screen) -> Result<Event, Failure> {
    loop {
        let Some(event) = events.next().await? else {
            return Err(Failure::message("the system stopped meanwhile"));
        };
        if event.unit != unit {
            continue;
        }
        screen.event(&event)?;
        if is_fatal(event.kind) {
            return Err(Failure::message(format!("{unit} did not come back")));
        }
        return Ok(event);
    }
}

/// Shows what happens to the unit until all of its instances are new.
async fn replaced(
    client: &Client,
    unit: &str,
    asked_at: u64,
    mut events: Lines<Event>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut any_ready = false;
    loop {
        tokio::select! {
            event = shown(&mut events, unit, screen) => {
                let event = event?;
                if event.kind == EventKind::LeftOut {
                    return Err(Failure::message(format!("{unit} is left out: {}", event.message)));
                }
                any_ready |= event.kind == EventKind::Ready;
            }
            _ = look.tick() => {}
        }
        if any_ready && all_new(client, unit, asked_at).await? {
            return Ok(());
        }
    }
}

/// Whether there are only instances that became ready after the restart was asked for.
async fn all_new(client: &Client, unit: &str, asked_at: u64) -> Result<bool, Failure> {
    let instances: Vec<InstanceView> = client.get("/v1/instances").await?;
    // Those that joined are started by others.
    let started = |instance: &&InstanceView| {
        instance.unit == unit && instance.state != State::Stopped && instance.lease_ends.is_none()
    };
    let mut of_unit = instances.iter().filter(started).peekable();
    Ok(of_unit.peek().is_some()
        && of_unit.all(|instance| instance.state == State::Ready && instance.since >= asked_at))
}
