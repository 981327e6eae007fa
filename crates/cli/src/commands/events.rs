//! `madang events`: what happened to units and to the calls between services, and what happens.

use jiff::tz::TimeZone;
use madang_wire::{admin::Event, telemetry::MissingKind};

use crate::{
    args::Events,
    client::Client,
    commands::missing,
    failure::Failure,
    output::Output,
    progress::word,
    style::{Paint, Style},
    units,
};

/// Prints the last events and, if they are followed, new ones until the system is gone.
pub async fn run(client: &Client, output: &Output, events: &Events) -> Result<(), Failure> {
    let mut lines = client.lines::<Event>(&query(events, units::now())).await?;
    let zone = TimeZone::system();
    while let Some(event) = lines.next().await? {
        match output.is_json() {
            true => output.json_line(&event)?,
            false => output.text(&shown(&event, &zone, output.style()))?,
        }
    }
    if !events.follow && !output.is_json() {
        missing::note(client, MissingKind::Events, &[]).await;
    }
    Ok(())
}

fn query(events: &Events, now: u64) -> String {
    let mut query = format!("/v1/events?follow={}", events.follow);
    for unit in &events.units {
        query.push_str(&format!("&unit={unit}"));
    }
    if let Some(last) = events.lines {
        query.push_str(&format!("&n={last}"));
    } else if events.since.is_none() {
        query.push_str("&n=100");
    }
    if let Some(since) = events.since {
        query.push_str(&format!("&since={}", units::beginning(since, now)));
    }
    query
}

/// When, who, what, in words, and of which release; what a program said last is below it.
fn shown(event: &Event, zone: &TimeZone, style: Style) -> String {
    let (word, paint) = word(event.kind);
    let who = event.instance.as_ref().unwrap_or(&event.unit);
    let mut message = event.message.lines();
    let first = message.next().unwrap_or_default();
    let at = style.paint(Paint::Faint, &units::moment(event.at, zone)).into_owned();
    let mut text = format!("{at}  {who}  {}", style.paint(paint, word));
    match first.strip_prefix(word) {
        Some(rest) => text.push_str(rest), // `gave up after 5 starts`
        None if first.is_empty() => {}
        None => text.push_str(&format!(": {first}")),
    }
    if let Some(release) = &event.release {
        text.push_str(&style.paint(Paint::Faint, &format!("  release {release}")));
    }
    text.push('\n');
    for line in message {
        text.push_str(&format!("    {}\n", style.paint(Paint::Faint, line)));
    }
    text
}
