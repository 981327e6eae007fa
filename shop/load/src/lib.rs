//! The shop under load, and what must hold whatever fails meanwhile.
//!
//! An open loop: customers come when they come, as a Poisson process, and wait for nobody. A generator that waits for
//! an answer before it sends the next request slows down with what it measures, and hides the very delays that it is
//! there to find; here the latency counts from the moment a request was due.
//!
//! Knows the shop as anybody outside does: HTTP at its gateway.
//!
//! Map: [`arrivals`] says when, [`scenario`] what; [`drive`] sends, [`visit`] is what one customer does, [`tally`]
//! measures; [`audit`] asks the services before and after, [`judge`] compares; [`report`] shows.

pub mod args;
pub mod arrivals;
pub mod audit;
pub mod client;
pub mod drive;
pub mod judge;
pub mod report;
pub mod scenario;
pub mod tally;
pub mod visit;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use tokio::sync::watch;

use crate::{
    args::{Format, Options},
    client::{Client, Failure},
    drive::Driven,
    report::{Report, Verdict},
    scenario::Plan,
    tally::Tally,
};

/// Loads the shop, shows what came of it, and says so as an exit code.
pub fn main(options: &Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if stop.send_replace(true) {
                eprintln!("stopped twice: nothing was proven");
                std::process::exit(Verdict::Unknown.code().into());
            }
            eprintln!("stopping: what is under way is waited for, and then what must hold is looked at");
        }
    });
    let report = match runtime.block_on(run(options, stopped)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}\nIs the shop up? `madang up shop` starts it.");
            return ExitCode::from(Verdict::Unknown.code());
        }
    };
    let shown = match options.format {
        Format::Table => report.to_string(),
        Format::Json => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
    };
    // Whoever reads no more has the exit code.
    let _ = io::stdout().write_all(shown.as_bytes());
    ExitCode::from(report.verdict.code())
}

/// Loads the shop until the time is over or `stopped` says so.
///
/// # Errors
/// If the shop cannot be asked for what customers would buy, before the first one comes.
pub async fn run(options: &Options, stopped: watch::Receiver<bool>) -> Result<Report, Failure> {
    let seed = options.seed.unwrap_or_else(rand::random);
    let client = Client::new(&options.gateway);
    let plan = Plan::prepare(&client, options.scenario).await?;
    let before = audit::before(&client, &plan).await?;
    let tally = Arc::new(Tally::default());
    let driven = drive::drive(&client, Arc::new(plan), options, seed, tally.clone(), stopped).await;
    eprintln!("waiting until every order is over");
    let judged =
        audit::after(&client, &before).await.map(|after| judge::judge(&before, &after, &tally.told()));
    let Driven { lasted, interrupted } = driven;
    Ok(Report::new(options, seed, lasted, interrupted, &tally, judged))
}
