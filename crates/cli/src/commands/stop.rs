//! `madang stop` and `madang start`: one unit, which stays as it was told to be.

use madang_wire::admin::{Event, InstanceView, State};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use super::{
    LOOK,
    restart::{shown, unit_of},
};
use crate::{
    args::{Format, Restart},
    client::Client,
    failure::Failure,
    screen::Screen,
};

/// Stops a unit and waits until nothing of it runs.
pub async fn stop(client: &Client, format: Format, asked: &Restart) -> Result<(), Failure> {
    let gone = |row: &InstanceView| row.state == State::Stopped;
    told(client, format, asked, "stop", "has not stopped", gone).await
}

/// Starts a unit and waits until all of its instances are ready.
pub async fn start(client: &Client, format: Format, asked: &Restart) -> Result<(), Failure> {
    let ready = |row: &InstanceView| row.state == State::Ready;
    told(client, format, asked, "start", "is still not ready", ready).await
}

async fn told(
    client: &Client,
    format: Format,
    asked: &Restart,
    verb: &str,
    yet: &str,
    done: impl Fn(&InstanceView) -> bool,
) -> Result<(), Failure> {
    let deadline = Instant::now() + asked.timeout;
    let mut events = client.lines::<Event>("/v1/events?follow=true").await?;
    client.post(&format!("/v1/units/{}/{verb}", asked.name)).await?;
    if asked.no_wait {
        return Ok(());
    }
    let unit = unit_of(client, asked.name.as_str()).await?;
    let mut screen = Screen::new(format, [unit.as_str()]);
    let followed = async {
        let mut look = interval_at(Instant::now(), LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased; // what happened is shown before it is found to be all
                event = shown(&mut events, &unit, &mut screen) => {
                    event?;
                }
                _ = look.tick() => {}
            }
            let instances: Vec<InstanceView> = client.get("/v1/instances").await?;
            // Those that joined are started and stopped by others.
            let mut rows =
                instances.iter().filter(|row| row.unit == unit && row.lease_ends.is_none()).peekable();
            if rows.peek().is_some() && rows.all(&done) {
                return Ok(());
            }
        }
    };
    timeout_at(deadline, followed).await.unwrap_or_else(|_| {
        Err(Failure::Timeout {
            what: format!("{unit} {yet}"),
            within: madang_model::format_duration(asked.timeout),
        })
    })
}
