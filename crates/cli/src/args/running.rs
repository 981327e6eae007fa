//! What is said of what runs: starting and stopping it, waiting for it, being in its place.

use std::{ffi::OsString, time::Duration};

use clap::ValueEnum;
use madang_model::{ServiceName, parse_duration};

use super::Which;

/// `madang up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first Ctrl-C stops gracefully, the second at once. If a unit cannot be built or started, all that was
started is stopped again and the exit code is 1. Edits of the manifest are applied while the system runs.")]
pub struct Up {
    /// Which system.
    #[command(flatten)]
    pub which: Which,
    /// Leave these to yourself, by service or unit: they are not built or started, and get traffic while something
    /// answers at their port, as in a debugger. `madang env` says what to start them with.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub except: Vec<ServiceName>,
    /// Run in the background: returns once every unit is ready, or one has failed.
    #[arg(short, long)]
    pub detach: bool,
    /// Leave the terminal's session, and let go of stdin and stdout once the node listens.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub own_session: bool,
}

/// `madang down`.
#[derive(Debug, clap::Args)]
pub struct Down {
    /// Which system.
    #[command(flatten)]
    pub which: Which,
    /// Do not wait for anybody's work to end.
    #[arg(long)]
    pub now: bool,
    /// How long to wait until it is gone: `30s`, `2m`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "2m")]
    pub timeout: Duration,
}

/// `madang wait`.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// Which system.
    #[command(flatten)]
    pub which: Which,
    /// What to wait for.
    #[arg(long, value_enum, default_value_t = Status::Ready)]
    pub status: Status,
    /// How long: `30s`, `2m`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "2m")]
    pub timeout: Duration,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Status {
    /// Every unit is ready.
    Ready,
    /// The system is gone.
    Down,
}

/// `madang restart`, `madang stop` and `madang start`.
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// The service or unit.
    pub name: ServiceName,
    /// Return at once.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait until its instances are ready: `30s`, `2m`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "2m")]
    pub timeout: Duration,
}

/// `madang env`.
#[derive(Debug, clap::Args)]
pub struct Env {
    /// The service or unit.
    pub name: ServiceName,
    /// The command to run, in the unit's folder; without one the variables are printed for a shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `madang open`.
#[derive(Debug, clap::Args)]
pub struct Open {
    /// Which system.
    #[command(flatten)]
    pub which: Which,
    /// The gateway instead.
    #[arg(long)]
    pub gateway: bool,
}
