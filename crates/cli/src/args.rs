//! The command line: what may be written, and what `--help` says about it.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use madang_model::{ServiceName, parse_duration};

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
        #[arg(value_parser = parse_trace)]
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
        #[arg(value_parser = parse_trace)]
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

/// How bad it is what a line tells of.
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

/// The beginning of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// At this moment, in milliseconds since 1970.
    At(u64),
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

/// `madang audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// How many, the newest first.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = at_least_one())]
    pub limit: u32,
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

/// `madang policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Print every limit of the calls of one service to another, with the scope and the line that set it.
    Explain {
        /// Who calls: a service, or `gateway`.
        caller: ServiceName,
        /// Who is called.
        callee: ServiceName,
        /// Of the gateway: the path of the route, as the manifest writes it.
        #[arg(long, value_name = "PATH")]
        route: Option<String>,
    },
}

/// `madang cache`.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show what is kept of each route, and how often that was of use.
    Show,
    /// Forget answers: whoever asks next asks the service.
    Purge(Purge),
}

/// `madang cache purge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang cache purge /products/7       what was asked for at this path, with any query
  madang cache purge \"/products/**\"   the same, of all paths below it
  madang cache purge --tag catalogue   what the route or the answer (in Cache-Groups) is tagged with")]
#[group(required = true, multiple = false)]
pub struct Purge {
    /// A path, as clients ask for it; with `/**` at its end all below it too.
    pub path: Option<String>,
    /// The path of a route, as the manifest writes it.
    #[arg(long, value_name = "PATH")]
    pub route: Option<String>,
    /// A service.
    #[arg(long)]
    pub service: Option<ServiceName>,
    /// A tag.
    #[arg(long)]
    pub tag: Option<String>,
    /// Everything.
    #[arg(long)]
    pub all: bool,
}

/// `madang fault`.
#[derive(Debug, Subcommand)]
pub enum Fault {
    /// Add a fault; it ends by itself.
    Add(AddFault),
    /// List the faults in force.
    List,
    /// Remove a fault, or all of them.
    Rm(RmFault),
}

/// `madang secret`.
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Keep a secret: asked for without being shown, or read from stdin.
    Set(SetSecret),
    /// List the names of those that are kept, and which units are told them.
    List,
    /// Forget a secret.
    Rm {
        /// Its name.
        name: String,
    },
    /// Print the id of the key that opens them.
    Key {
        /// Print the key itself, for somebody who is to have it, or for the variable MADANG_SECRETS_KEY of a machine.
        #[arg(long)]
        show: bool,
        /// Make a new key first, and seal all of them with it.
        #[arg(long)]
        new: bool,
    },
}

/// `madang secret set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang secret set pay                              asks for it
  pass show stripe | madang secret set pay           takes what another program says
  madang secret set tls-key --from key.pem           takes a file as it is
  madang secret set pay --env production             keeps that of an environment apart

In the manifest it stands in `env`, as in env = { PAY_KEY = \"${secret.pay}\" }. It is sealed in madang-secrets.toml,
which may be kept with the code; the key is kept in ~/.config/madang/keys, or given in MADANG_SECRETS_KEY.")]
pub struct SetSecret {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The file that holds it, instead of stdin.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// `madang fault add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang fault add orders --on \"payments POST /charges\" --delay 2s --percent 10 --for 5m
  madang fault add gateway --on \"users /users/{id}\" --status 503
  madang fault add orders --on payments --lose-reply")]
pub struct AddFault {
    /// Whose calls meet it: a service, or `gateway` for requests from outside.
    pub caller: ServiceName,
    /// The calls that meet it: a service, and if not all of them a method, a path as a route's, or both.
    #[arg(long, value_name = "CALLS", value_parser = parse_calls)]
    pub on: Calls,
    /// What happens to them.
    #[command(flatten)]
    pub effect: Effect,
    /// How many of them, in percent.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100), default_value_t = 100)]
    pub percent: u8,
    /// How long, up to a day: `30s`, `5m`.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, default_value = "10m")]
    pub lasts: Duration,
}

/// What happens to calls that meet a fault.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Effect {
    /// They reach the instance so much later: `2s`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// This status is answered, and the instance hears nothing.
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: Option<u16>,
    /// Nothing is ever answered, and the instance hears nothing.
    #[arg(long)]
    pub hang: bool,
    /// The instance answers, and the connection breaks before the answer arrives.
    #[arg(long)]
    pub lose_reply: bool,
    /// The instance is killed as soon as the request is on its way to it.
    #[arg(long)]
    pub kill: bool,
}

/// `payments`, `payments POST`, `payments /charges`, `payments POST /charges`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// The service that is called.
    pub service: ServiceName,
    /// The method; any if absent.
    pub method: Option<String>,
    /// The path; any if absent.
    pub path: Option<String>,
}

/// `madang fault rm`.
#[derive(Debug, clap::Args)]
pub struct RmFault {
    /// The fault, as `madang fault list` names it.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,
    /// Every fault.
    #[arg(long)]
    pub all: bool,
}

/// `madang key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key, and print it: this once, since only a hash of it is kept.
    Create(CreateKey),
    /// List the keys, also those that have expired.
    List,
    /// Revoke a key: it is good for nothing any more.
    Revoke {
        /// The key's name, or its id.
        name: String,
    },
    /// Have the built-in issuer sign tokens with a new key; those that it has signed stay good to their end.
    Rotate,
}

/// `madang key create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang key create ci --scope orders:read --expires 90d
  curl -H \"authorization: Bearer $(madang key create ci)\" http://127.0.0.1:3000/orders

The gateway takes keys if the manifest says keys = true in [gateway.auth]. A service sees the subject key:NAME.")]
pub struct CreateKey {
    /// Its name, which services see as the subject `key:NAME`.
    pub name: ServiceName,
    /// A scope that it has; to be given for each.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// How long it is good: `12h`, `90d` [default: until it is revoked].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub expires: Option<Duration>,
}

/// `madang check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Which system.
    #[command(flatten)]
    pub which: Which,
    /// Print the manifest's JSON Schema, by which editors complete it, and check nothing.
    #[arg(long, conflicts_with = "explain")]
    pub schema: bool,
    /// Print each value in force with the file and line that it came from.
    #[arg(long)]
    pub explain: bool,
}

/// The name of an isolated system; empty for whichever there is.
fn isolated_name(given: &str) -> Result<String, String> {
    match given {
        "" => Ok(String::new()),
        name => name.parse::<ServiceName>().map(|name| name.to_string()).map_err(|error| error.to_string()),
    }
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

fn parse_trace(given: &str) -> Result<String, String> {
    if (1..=64).contains(&given.len()) && given.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(given.to_owned());
    }
    Err(format!(
        "\"{given}\" is the id of no trace, which has 32 hexadecimal digits, and of no request, which has up to 64 \
         visible ASCII characters"
    ))
}

fn parse_calls(given: &str) -> Result<Calls, String> {
    let words: Vec<&str> = given.split_whitespace().collect();
    let is_path = |word: &&str| word.starts_with('/');
    let (service, method, path) = match words[..] {
        [service] => (service, None, None),
        [service, path] if is_path(&path) => (service, None, Some(path)),
        [service, method] => (service, Some(method), None),
        [service, method, path] if is_path(&path) => (service, Some(method), Some(path)),
        _ => {
            return Err(
                "write a service, then a method, a path or both: \"payments POST /charges\"".to_owned()
            );
        }
    };
    let service = service.parse().map_err(|error| format!("\"{service}\": {error}"))?;
    Ok(Calls { service, method: method.map(str::to_owned), path: path.map(str::to_owned) })
}

/// Nothing was asked for, and nothing is shown, which would be taken for that there is nothing.
fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
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

    #[test]
    fn calls_are_a_service_and_perhaps_a_method_and_a_path() {
        let read = |given: &str| {
            let Calls { service, method, path } = parse_calls(given)?;
            Ok::<_, String>((service.to_string(), method.unwrap_or_default(), path.unwrap_or_default()))
        };
        let is = |service: &str, method: &str, path: &str| Ok((service.into(), method.into(), path.into()));
        assert_eq!(read("payments"), is("payments", "", ""));
        assert_eq!(read("payments POST"), is("payments", "POST", ""));
        assert_eq!(read("payments  /charges/**"), is("payments", "", "/charges/**"));
        assert_eq!(read("payments POST /charges"), is("payments", "POST", "/charges"));
        for bad in ["", "payments POST charges", "payments /a /b /c", "Payments"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

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
