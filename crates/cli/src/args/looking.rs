//! What is said of what to look at: logs, events, traces, numbers, and who did what.

use std::{path::PathBuf, time::Duration};

use clap::{Subcommand, ValueEnum};
use madang_model::{ServiceName, parse_duration};

/// `madang logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang logs -n 20 users orders
  madang logs -f --since 5m
  madang logs --trace 0af7651916cd43dd8448eb211c80319c
  madang logs --level warn --grep timeout
  madang logs --format json --since 2026-01-31T09:00:00Z")]
pub struct Logs {
    /// The services or units; all if none is named.
    pub services: Vec<ServiceName>,
    /// Go on with new lines as they come.
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines to begin with [default: 100, or all with --since].
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u64>,
    /// Only lines written since then: a time ago (`5m`) or a moment (`2026-01-31T09:00:00Z`).
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Only lines written until then, in the same forms.
    #[arg(long, value_name = "TIME", value_parser = parse_since, conflicts_with = "follow")]
    pub until: Option<Since>,
    /// Only lines of this trace, or of the request with this id, in all services.
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// Only lines of this level or a worse one.
    #[arg(long, value_enum, value_name = "LEVEL", ignore_case = true)]
    pub level: Option<Level>,
    /// Only lines whose message, or fields as `key=value`, contain this text, in upper or lower case.
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Show structured lines as they were written.
    #[arg(long)]
    pub raw: bool,
}

/// How bad it is what a line tells of: the levels of `madang-wire`, without which this file is read by the chores of the
/// repository too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// `madang events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang events --since 10m
  madang events -f orders payments

They are kept over restarts, as long as traces and logs are.")]
pub struct Events {
    /// The units, or the services where it is about calls; all if none is named.
    pub units: Vec<ServiceName>,
    /// Go on with what happens.
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last events to begin with [default: 100, or all with --since].
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u64>,
    /// Only what happened since then: a time ago (`5m`) or a moment (`2026-01-31T09:00:00Z`).
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
}

/// `madang traces`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang traces --error
  madang traces --slow 200ms --service orders
  madang traces --error --caller orders --service payments
  madang traces --route '/orders/**'

Kept are all requests that failed or took a second, within bounds, and a sample of the rest, for a week.")]
pub struct Traces {
    /// Only those in which something failed.
    #[arg(long)]
    pub error: bool,
    /// Only those that took at least so long: `200ms`, `2s`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub slow: Option<Duration>,
    /// Only those in which this service called or was called; `gateway` for requests from outside.
    #[arg(long, value_name = "NAME")]
    pub service: Option<ServiceName>,
    /// Only those in which this one, `gateway` or a service, called `--service`; with `--error` or `--slow` those in
    /// which this call failed or took so long.
    #[arg(long, value_name = "NAME", requires = "service")]
    pub caller: Option<ServiceName>,
    /// Only those with a request over this route, given as `madang routes` shows its path: `/orders/**`.
    #[arg(long, value_name = "PATH")]
    pub route: Option<String>,
    /// How many, up to 1000.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = at_least_one())]
    pub limit: u32,
}

/// Reads the id of a trace or of a request.
pub(super) fn parse_trace(given: &str) -> Result<String, String> {
    if (1..=64).contains(&given.len()) && given.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(given.to_owned());
    }
    Err(format!(
        "\"{given}\" is the id of no trace, which has 32 hexadecimal digits, and of no request, which has up to 64 \
         visible ASCII characters"
    ))
}

/// The beginning of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// At this moment, in milliseconds since 1970.
    At(u64),
}

fn parse_since(given: &str) -> Result<Since, String> {
    if let Ok(ago) = parse_duration(given) {
        return Ok(Since::Ago(ago));
    }
    let moment: jiff::Timestamp = given.parse().map_err(|_| {
        format!("\"{given}\" is no time: write how long ago, such as 5m, or a moment, such as 2026-01-31T09:00:00Z")
    })?;
    Ok(Since::At(moment.as_millisecond().try_into().unwrap_or(0)))
}

/// `madang top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang top
  madang top --once --window 5m
  madang top --format json

On a terminal it is drawn anew each second until Ctrl-C; into a file or a pipe it is written once.")]
pub struct Top {
    /// Show it once.
    #[arg(long)]
    pub once: bool,
    /// Of how long, up to a month: `10s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    pub window: Duration,
}

/// `madang map`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang map
  madang map --window 1h
  madang map --format dot | dot -Tsvg > map.svg
  madang map --format mermaid")]
pub struct Map {
    /// Of how long, up to a month: `10s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1m")]
    pub window: Duration,
}

/// `madang export`.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// Write prometheus.yml, which says where to scrape, and madang-alerts.yml, which says when to raise an alarm.
    Prometheus(ExportTo),
    /// Write dashboards, to be imported.
    Grafana(ExportTo),
}

/// Where files are written.
#[derive(Debug, clap::Args)]
pub struct ExportTo {
    /// The folder; files of these names in it are replaced.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

/// `madang audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// How many, the newest first.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = at_least_one())]
    pub limit: u32,
}

/// Nothing was asked for, and nothing is shown, which would be taken for that there is nothing.
fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_time_ago_or_a_moment() {
        assert_eq!(parse_since("5m"), Ok(Since::Ago(Duration::from_secs(300))));
        assert_eq!(parse_since("1970-01-01T00:00:02Z"), Ok(Since::At(2_000)));
        assert_eq!(parse_since("1970-01-01T09:00:02+09:00"), Ok(Since::At(2_000)));
        assert!(parse_trace("0af7651916cd43dd8448eb211c80319c").is_ok());
        assert!(parse_trace("order/7").is_ok());
        assert!(parse_trace("one two").unwrap_err().starts_with("\"one two\" is the id of no trace"));
        assert!(parse_since("yesterday").unwrap_err().starts_with("\"yesterday\" is no time"));
    }
}
