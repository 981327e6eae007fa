//! What `shop load` is told. Nothing but clap, so that the check of the docs can read it too.

use std::{str::FromStr, time::Duration};

/// Loads the shop through its gateway at a given rate, and proves what must hold.
///
/// Requests leave when they are due, whether or not earlier ones are answered, and their latency counts from then. At
/// the end, when every order is over, the services are asked: money Δ, stock Δ, double charges and lost orders must be 0.
/// Exit code: 0 all holds, 1 something does not, 3 it could not be found out.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What customers do.
    #[arg(long, value_enum, default_value_t = Scenario::Browse)]
    pub scenario: Scenario,
    /// How many come: at random, so many per second on average (a Poisson process).
    #[arg(long, value_name = "N/s", default_value = "20/s")]
    pub rate: Rate,
    /// For how long they come.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = time)]
    pub time: Duration,
    /// Where the shop's gateway is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub gateway: Gateway,
    /// The same seed gives the same customers, who come at the same times; random if absent.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many may wait for an answer at a time; whoever comes when there are more is sent away, and counted.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// What customers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// They look: the front page, lists, searches, products.
    Browse,
    /// They buy one to three products; one in ten presses the button twice.
    Checkout,
    /// They all want the one product of which there are 25.
    FlashSale,
}

/// How a result is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How many come per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

/// Where a gateway is: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The name or address of its machine.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).parse().ok();
        let rate = number.filter(|rate| (0.01..=10_000.0).contains(rate));
        rate.map(Self).ok_or_else(|| "must be like 20/s, from 0.01/s to 10000/s".to_owned())
    }
}

impl FromStr for Gateway {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be like http://127.0.0.1:3000".to_owned();
        let authority = text.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| wrong())? })
    }
}

/// A time such as `500ms`, `30s` or `5m`.
fn time(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let millis = number.parse().ok().and_then(|number: u64| number.checked_mul(millis));
    let time = millis.filter(|millis| (100..=3_600_000).contains(millis)).map(Duration::from_millis);
    time.ok_or_else(|| "must be like 500ms, 30s or 5m, and an hour at most".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_understood_or_told_how_it_is_written() {
        assert_eq!("50/s".parse(), Ok(Rate(50.0)));
        assert_eq!("0.5".parse(), Ok(Rate(0.5)));
        for bad in ["", "0", "-1/s", "nan", "20/m", "10001/s"] {
            assert!(bad.parse::<Rate>().unwrap_err().contains("20/s"), "{bad}");
        }
        assert_eq!(time("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "30", "1h", "-1s", "99ms", "61m", "99999999999999999999m"] {
            assert!(time(bad).unwrap_err().contains("30s"), "{bad}");
        }
        let gateway = |host: &str, port| Ok(Gateway { host: host.to_owned(), port });
        assert_eq!("http://127.0.0.1:3000/".parse(), gateway("127.0.0.1", 3000));
        assert_eq!("http://shop.example".parse(), gateway("shop.example", 80));
        for bad in ["127.0.0.1:3000", "https://a", "http://", "http://a:b", "http://a/b", "http://u@a"] {
            assert!(bad.parse::<Gateway>().is_err(), "{bad}");
        }
    }
}
