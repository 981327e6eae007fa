//! The command line: what may be written, and what `--help` says about it.

mod fault;
mod keeping;
mod looking;
mod manifest;
mod running;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use madang_model::ServiceName;

pub use self::{fault::*, keeping::*, looking::*, manifest::*, running::*};

const EXAMPLES: &str = "\
Examples:
  madang up                     run the system of the madang.toml in this folder
  madang up shop -d             run the one in shop/ in the background
  madang ps shop                see what runs
  madang logs -f -C shop users  follow the log of one service
  madang down shop              stop it
  madang up shop --isolated     run it a second time, beside the first

Exit codes:
  0  done
  1  failed; stderr says why
  2  the command line was not understood
  3  the manifest is refused
  4  the system does not run
  5  it took longer than --timeout";

/// Runs a system of services, connects them and shows what they do.
#[derive(Debug, Parser)]
#[command(name = "madang", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    /// A folder with a madang.toml, or a manifest file [default: this folder].
    #[arg(short = 'C', long = "in", value_name = "PATH", global = true)]
    pub location: Option<PathBuf>,
    /// The environment: the files named after it are laid over the others [default: $MADANG_ENV].
    #[arg(long = "env", value_name = "NAME", global = true)]
    pub environment: Option<String>,
    /// Not the system of the folder itself but one that runs isolated beside it: `up` starts one with ports and state of
    /// its own, which are gone with it; all else speaks to it, by name where there are several.
    #[arg(long, value_name = "NAME", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "",
        value_parser = isolated_name)]
    pub isolated: Option<String>,
    /// How to answer: `table` for people, `json` for scripts; what follows is one JSON document a line. `map` also as
    /// `dot` or `mermaid`.
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = Format::Table, global = true)]
    pub format: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For scripts.
    Json,
    /// For Graphviz.
    Dot,
    /// For Mermaid.
    Mermaid,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build and run the system until Ctrl-C, or in the background.
    Up(Up),
    /// Stop the system: every unit in reverse order of dependence, each with time to end its work.
    Down(Down),
    /// List the instances.
    Ps(Which),
    /// Show the logs of services, in the order of time.
    Logs(Logs),
    /// Show what happened to units and to the calls between services: releases, starts, exits, breakers, faults, edits.
    Events(Events),
    /// List the newest traces: the ways of requests through the system.
    Traces(Traces),
    /// Show the way of one request: who called whom, how long it took, what went wrong.
    Trace {
        /// The trace's id, as `madang traces` lists it and each problem has it as `trace_id`; or the request's, which
        /// each answer has as `x-request-id`.
        #[arg(value_parser = looking::parse_trace)]
        id: String,
    },
    /// Show what each service does now: calls a second, failures, times, processor and memory.
    Top(Top),
    /// Show which service calls which: how often, how well and how fast.
    Map(Map),
    /// Write files that Prometheus and Grafana take as they are.
    #[command(subcommand)]
    Export(Export),
    /// Tell why a request went as it did: who failed first or took the time, and what says so.
    Why {
        /// The id of the request, which each answer has as `x-request-id`, or of its trace, which each problem has as
        /// `trace_id`.
        #[arg(value_parser = looking::parse_trace)]
        id: String,
    },
    /// List the systems that run on this machine, from whichever folder.
    Systems,
    /// Show all that is known of a service.
    Describe {
        /// The service.
        service: ServiceName,
    },
    /// Build a unit again and replace its instances, and wait until they are ready.
    Restart(Restart),
    /// Stop a unit, and have it stay so until it is started or restarted, or the system is stopped.
    Stop(Restart),
    /// Start a unit that was stopped, and wait until its instances are ready.
    Start(Restart),
    /// Print a token by which a program that you start yourself joins a service.
    #[command(after_help = "\
Whoever has the token may join the service, and ask where the services are that it calls, as long as the system's
.madang folder is kept. For example, at the url that `--format json` prints too:
  curl -X PUT -H \"authorization: Bearer $(madang token orders)\" \\
    $URL/v1/services/orders/instances/mine -d '{\"address\": \"127.0.0.1:4001\", \"lease\": \"30s\"}'
The answer says how often to repeat it; DELETE leaves at once. It prints too what the program verifies by for whom
requests are made: MADANG_PRINCIPAL_KEYS is its principal_keys.")]
    Token {
        /// The service.
        service: ServiceName,
    },
    /// Make, list and revoke the API keys by which programs outside speak to the gateway, and change the issuer's key.
    #[command(subcommand)]
    Key(Key),
    /// Print the environment in which to run a unit yourself, or run a command in it.
    #[command(after_help = "\
Examples:
  madang up --except orders                  run all but orders
  madang env orders -- cargo run             run it in its environment, in its folder
  eval \"$(madang env orders)\"              make the environment this shell's
  madang env orders -- sh -c 'sqlite3 ${DATABASE_URL#sqlite:}'

A command runs in the folder of the unit, as the unit itself would. Of a unit that madang runs, a second one beside it
gets a port of its own and no traffic.")]
    Env(Env),
    /// Wait until every unit is ready, also of a system that is yet to be started, or until the system is gone.
    Wait(Wait),
    /// List the routes of the gateway in the order of precedence.
    Routes(Which),
    /// Show or forget what the gateway keeps of answers.
    #[command(subcommand)]
    Cache(Cache),
    /// Make calls fail on purpose, for a while.
    #[command(subcommand)]
    Fault(Fault),
    /// Keep what programs are to know and nobody else, sealed in a file beside the manifest.
    #[command(subcommand)]
    Secret(Secret),
    /// Check the manifest and say what is wrong with it.
    Check(Check),
    /// Show what holds for calls, and which line of the manifest says so.
    #[command(subcommand)]
    Policy(Policy),
    /// Open the dashboard in a browser, logged in; or print its URL where nothing can open it.
    Open(Open),
    /// List who asked the node for what that changes something.
    Audit(Audit),
    /// Print the completions for a shell.
    #[command(
        after_help = "For example: madang completions bash > ~/.local/share/bash-completion/completions/madang"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Which system a command is about.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// A folder with a madang.toml, or a manifest file [default: this folder].
    pub path: Option<PathBuf>,
}

/// The name of an isolated system; empty for whichever there is.
fn isolated_name(given: &str) -> Result<String, String> {
    match given {
        "" => Ok(String::new()),
        name => name.parse::<ServiceName>().map(|name| name.to_string()).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn who_wants_to_see_nothing_is_told_so() {
        for list in ["traces", "audit"] {
            assert!(Args::try_parse_from(["madang", list, "-n", "1"]).is_ok(), "{list}");
            assert!(Args::try_parse_from(["madang", list, "-n", "0"]).is_err(), "{list}");
        }
    }
}
