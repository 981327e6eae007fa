//! One file per command.

mod audit;
mod cache;
mod check;
mod completions;
mod describe;
mod down;
mod env;
mod events;
mod exit;
mod export;
mod fault;
mod key;
mod logs;
mod map;
mod missing;
mod open;
mod policy;
mod ps;
mod restart;
mod routes;
mod secret;
mod stop;
mod systems;
mod token;
mod top;
mod traces;
mod up;
mod wait;
mod why;

use std::{path::PathBuf, pin::Pin, time::Duration};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use crate::{
    args::{Args, Command, Format, Policy, Up, Which},
    client::Client,
    failure::Failure,
    locate::Location,
    output::Output,
};

/// How often whoever waits looks again although nothing happened: an event may be told before what it changed
/// can be seen.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the command that was given.
pub fn run(args: Args) -> Result<(), Failure> {
    let runtime = runtime(&args.command)?;
    // Behind a pointer: it holds a whole node, which would be compiled again for each kind of runtime.
    let command: Pin<Box<dyn Future<Output = Result<(), Failure>>>> = Box::pin(dispatch(args));
    runtime.block_on(command)
}

async fn dispatch(args: Args) -> Result<(), Failure> {
    let graph = matches!(args.format, Format::Dot | Format::Mermaid);
    if graph && !matches!(args.command, Command::Map(_)) {
        return Err(Failure::message(
            "only `madang map` is drawn as dot or mermaid: choose table or json".to_owned(),
        ));
    }
    let output = Output::new(args.format);
    let here = args.location.unwrap_or_else(|| PathBuf::from("."));
    let environment =
        args.environment.or_else(|| std::env::var("MADANG_ENV").ok()).filter(|name| !name.is_empty());
    let fresh = matches!(args.command, Command::Up(_));
    let isolated = args.isolated;
    let at = |which: Which| {
        let path = which.path.unwrap_or_else(|| here.clone());
        Location::find(&path, environment.clone(), isolated.as_deref(), fresh)
    };
    let client = |which: Which| Ok::<_, Failure>(Client::new(&at(which)?));
    let default = || Which { path: None };
    match args.command {
        Command::Up(Up { which, detach: true, except, .. }) => {
            up::detached::run(&at(which)?, args.format, &except).await
        }
        Command::Up(Up { which, own_session, except, .. }) => {
            up::foreground::run(&at(which)?, args.format, own_session, &except).await
        }
        Command::Down(down) => down::run(&at(down.which)?, args.format, down.now, down.timeout).await,
        Command::Ps(which) => ps::run(&at(which)?, &output).await,
        Command::Systems => systems::run(&output).await,
        Command::Logs(logs) => logs::run(&client(default())?, &output, &logs).await,
        Command::Events(events) => events::run(&client(default())?, &output, &events).await,
        Command::Traces(which) => traces::list(&client(default())?, &output, &which).await,
        Command::Why { id } => why::run(&client(default())?, &output, &id).await,
        Command::Trace { id } => traces::show(&client(default())?, &output, &id).await,
        Command::Top(top) => top::run(&client(default())?, &output, &top).await,
        Command::Map(map) => map::run(&client(default())?, &output, &map, args.format).await,
        Command::Export(which) => export::run(&at(default())?, &output, &which),
        Command::Describe { service } => describe::run(&client(default())?, &output, &service).await,
        Command::Restart(restart) => restart::run(&client(default())?, args.format, &restart).await,
        Command::Stop(stop) => stop::stop(&client(default())?, args.format, &stop).await,
        Command::Start(start) => stop::start(&client(default())?, args.format, &start).await,
        Command::Audit(audit) => audit::run(&client(default())?, &output, audit.limit).await,
        Command::Token { service } => token::run(&client(default())?, &output, &service).await,
        Command::Key(key) => key::run(&client(default())?, &output, key).await,
        Command::Env(env) => env::run(&client(default())?, &output, &env).await,
        Command::Wait(wait) => wait::run(&client(wait.which)?, &output, wait.status, wait.timeout).await,
        Command::Routes(which) => routes::run(&client(which)?, &output).await,
        Command::Cache(cache) => cache::run(&client(default())?, &output, cache).await,
        Command::Fault(fault) => fault::run(&client(default())?, &output, fault).await,
        Command::Secret(what) => secret::run(&at(default())?, &output, &what),
        Command::Check(check) => check::run(&at(check.which)?, &output, check.schema, check.explain),
        Command::Policy(Policy::Explain { caller, callee, route }) => {
            policy::explain(&at(default())?, &output, &caller, &callee, route.as_deref())
        }
        Command::Open(open) => open::run(&client(open.which)?, &output, open.gateway).await,
        Command::Completions { shell } => completions::run(shell, &output),
    }
}

/// A node answers the admin API and watches its units on threads of its own; everything else asks one question.
fn runtime(command: &Command) -> Result<Runtime, Failure> {
    let mut builder = match command {
        Command::Up(up) if !up.detach => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = builder.worker_threads(2).enable_all().build();
    Ok(runtime.context("failed to start the runtime")?)
}
