//! What is said of faults: which calls meet them, and what happens to those.

use std::time::Duration;

use clap::Subcommand;
use madang_model::{ServiceName, parse_duration};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
