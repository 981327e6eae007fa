//! `madang logs`: what the services said and say.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::tz::TimeZone;
use madang_wire::{
    log::{LogLevel, LogLine},
    telemetry::MissingKind,
};

use crate::{
    args::{Level, Logs},
    client::{Client, segment},
    commands::missing,
    failure::Failure,
    line::readable,
    output::Output,
    style::{Paint, Style},
    units,
};

/// Prints the last lines and, if they are followed, new ones until the system is gone.
pub async fn run(client: &Client, output: &Output, logs: &Logs) -> Result<(), Failure> {
    let mut lines = client.lines::<LogLine>(&query(logs, units::now())).await?;
    let mut names = Names::default();
    let units: Vec<String> = logs.services.iter().map(ToString::to_string).collect();
    let note = || missing::note(client, MissingKind::Lines, &units);
    // What is followed has no end at which it could be said.
    if logs.follow && !output.is_json() {
        note().await;
    }
    let zone = TimeZone::system();
    while let Some(line) = lines.next().await? {
        if output.is_json() {
            output.json_line(&line)?;
        } else {
            let style = output.style();
            let text = if logs.raw { Cow::from(&line.line) } else { readable(&line, style) };
            let at = units::time_of_day(line.at, &zone);
            let name = names.show(&line.instance, style);
            output.line(&format!("{} {name} {text}", style.paint(Paint::Faint, &at)))?;
        }
    }
    if !logs.follow && !output.is_json() {
        note().await;
    }
    Ok(())
}

fn query(logs: &Logs, now: u64) -> String {
    let mut query = String::from("/v1/logs?");
    for service in &logs.services {
        query.push_str(&format!("service={service}&"));
    }
    if let Some(id) = &logs.trace {
        query.push_str(&format!("trace={}&", segment(id)));
    }
    if let Some(level) = logs.level {
        query.push_str(&format!("level={}&", wanted(level)));
    }
    if let Some(text) = &logs.grep {
        query.push_str(&format!("grep={}&", segment(text)));
    }
    // Whoever asks for a time, or for a trace, wants all of it.
    let all = logs.since.is_some() || logs.trace.is_some() && logs.grep.is_none();
    let last = logs.lines.or_else(|| all.then_some(u64::from(u32::MAX)));
    if let Some(last) = last {
        query.push_str(&format!("n={last}&"));
    }
    if let Some(since) = logs.since {
        query.push_str(&format!("since={}&", units::beginning(since, now)));
    }
    if let Some(until) = logs.until {
        query.push_str(&format!("until={}&", units::beginning(until, now)));
    }
    query.push_str(&format!("follow={}", logs.follow));
    query
}

fn wanted(level: Level) -> LogLevel {
    match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
        Level::Fatal => LogLevel::Fatal,
    }
}

/// The instances seen so far: each has a colour, and all names are as wide as the widest yet.
#[derive(Default)]
struct Names {
    colours: BTreeMap<String, usize>,
    width: usize,
}

impl Names {
    fn show(&mut self, instance: &str, style: Style) -> String {
        let next = self.colours.len();
        let colour = *self.colours.entry(instance.to_owned()).or_insert(next);
        self.width = self.width.max(instance.len());
        let name = format!("{instance:<width$} |", width = self.width);
        style.paint(Paint::Nth(colour), &name).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::ValueEnum;

    use super::*;
    use crate::args::Since;

    fn asked(services: &[&str], lines: Option<u64>, since: Option<Since>, follow: bool) -> Logs {
        let services = services.iter().map(|name| name.parse().unwrap()).collect();
        Logs { services, follow, lines, since, until: None, raw: false, trace: None, level: None, grep: None }
    }

    fn check(services: &[&str], lines: Option<u64>, since: Option<Since>, follow: bool, expected: &str) {
        assert_eq!(query(&asked(services, lines, since, follow), 10_000), expected);
    }

    #[test]
    fn the_question_says_what_was_asked_for_and_no_more() {
        check(&[], None, None, false, "/v1/logs?follow=false");
        check(
            &["users", "orders"],
            Some(5),
            None,
            true,
            "/v1/logs?service=users&service=orders&n=5&follow=true",
        );
        let ago = Since::Ago(Duration::from_secs(4));
        check(&[], None, Some(ago), false, "/v1/logs?n=4294967295&since=6000&follow=false");
        check(&[], Some(2), Some(Since::At(77)), false, "/v1/logs?n=2&since=77&follow=false");
        let all: Vec<_> = Level::value_variants().iter().map(|&level| wanted(level)).collect();
        assert_eq!(all, LogLevel::ALL);
        let warnings = Logs { level: Some(Level::Warn), ..asked(&[], None, None, false) };
        assert_eq!(query(&warnings, 10_000), "/v1/logs?level=warn&follow=false");
        let until = Logs { until: Some(ago), ..asked(&[], Some(9), None, false) };
        assert_eq!(query(&until, 10_000), "/v1/logs?n=9&until=6000&follow=false");
    }
}
