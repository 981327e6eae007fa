//! What a request costs at the gateway, beside a bare hyper proxy, nginx and HAProxy in the same run.
//!
//! Rounds are interleaved, so that whatever else the machine does falls on all alike; a ratio and a difference
//! are taken within a round and their median is shown.

mod instructions;
pub mod load;
pub mod peers;
pub mod upstream;

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use self::{load::Load, peers::Running};
use crate::{
    command::{self, program, release},
    needs,
};

/// What the design promises: CPU time above that of a bare hyper proxy, in µs.
const ABOVE_BARE: f64 = 3.0;
/// What the design promises: CPU time in proportion to nginx's.
const TO_NGINX: f64 = 1.4;
/// The same of every layer of a call that can be on, above those that are on anyway, in µs.
const ABOVE_OFF: f64 = 1.0;

/// What is built: at once, so that both proxies are made of the same hyper with the same features.
pub const PROXIES: [&str; 7] =
    ["--package", "xtask", "--package", "madang-gateway", "--bins", "--example", "proxy"];

/// How many requests are in flight at once.
pub const CLIENTS: usize = 16;

/// Requests a second while answers are timed.
const RATE: u32 = 1000;

/// Options of `cargo xtask bench gateway`.
#[derive(Args)]
pub struct Options {
    /// How many rounds; each measures every proxy once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many requests are counted for each proxy in a round.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    requests: u32,
    /// Only these cases, such as `1/128`: the HTTP version and the size of the answers in bytes.
    #[arg(long)]
    case: Vec<String>,
    /// Counts instructions instead of time, and leaves the profiles of callgrind in this folder.
    #[arg(long, value_name = "FOLDER")]
    instructions: Option<PathBuf>,
    /// Another build of the example `proxy`, measured in the same rounds: that of another commit, say.
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
    /// Says that this program is built for release and so is Madang.
    #[arg(long, hide = true)]
    built: bool,
}

/// One row of the table: a proxy in one case.
#[derive(Default)]
struct Measured {
    /// CPU time per request in µs, by round.
    cpu: Vec<f64>,
    /// From when requests were due to the end of their answers, sorted.
    took: Vec<Duration>,
}

/// A way of asking.
#[derive(Debug, Clone, Copy)]
struct Case {
    http2: bool,
    size: usize,
}

const CASES: [Case; 4] = [
    Case { http2: false, size: 128 },
    Case { http2: false, size: 16 * 1024 },
    Case { http2: true, size: 128 },
    Case { http2: true, size: 16 * 1024 },
];

/// Where each proxy is in the list of them.
const BARE: usize = 0;
const NGINX: usize = 1;
const MADANG: usize = 3;
const ALL: usize = 4;
const EDGE: usize = 5;
/// Without the edge, and asked what that is asked.
const ASKED: usize = 6;

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    match &options.instructions {
        _ if !options.built => build_and_measure(options),
        Some(folder) => instructions::count(&options.case, folder),
        None => measure(options),
    }
}

/// Builds everything for release and starts over in the program built so.
fn build_and_measure(options: &Options) -> Result<()> {
    match options.instructions {
        Some(_) => needs::satisfy(&[needs::VALGRIND])?,
        None => needs::satisfy(&[needs::NGINX, needs::HAPROXY])?,
    }
    command::again_for_release(&PROXIES)
}

fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let release = release()?;
    let xtask = release.join("xtask");
    let upstream = peers::upstream(&xtask)?;
    let proxy = release.join("examples/proxy");
    let mut proxies = vec![
        peers::bare(&xtask, upstream.http1, None)?,
        peers::nginx(folder.path(), upstream.http1)?,
        peers::haproxy(folder.path(), upstream.http1)?,
        peers::madang(&proxy, upstream.http1, None)?,
        peers::madang_with_all(&proxy, upstream.http1)?,
        peers::madang_with_edge(&proxy, folder.path(), upstream.http1, None)?,
    ];
    proxies.push(peers::madang_asked_as(&proxies[EDGE], &proxy, upstream.http1, None)?);
    if let Some(other) = &options.beside {
        proxies.push(peers::other(other, upstream.http1)?);
    }
    let mut met = true;
    for case in CASES.into_iter().filter(|case| case.is_asked_for(&options.case)) {
        let measured = case.measure(&proxies, options)?;
        met &= case.show(&proxies, &measured);
    }
    for proxy in &proxies {
        println!("{:<11} {:>6.1} MiB resident", proxy.name, proxy.resident()? as f64 / f64::from(1 << 20));
    }
    command::run(program(proxy).arg("--signatures"))?;
    ensure!(met || !options.check, "a target is missed");
    Ok(())
}

// === impl Case ===

impl Case {
    fn is_asked_for(self, asked: &[String]) -> bool {
        asked.is_empty() || asked.contains(&format!("{}/{}", self.version(), self.size))
    }

    fn version(self) -> u8 {
        if self.http2 { 2 } else { 1 }
    }

    fn load(self, proxy: &Running) -> Load {
        let address = if self.http2 { proxy.http2 } else { proxy.http1 };
        let (http2, size, fields) = (self.http2, self.size, proxy.fields);
        Load { address, http2, size, clients: CLIENTS, fields, tls: None }
    }

    fn measure(self, proxies: &[Running], options: &Options) -> Result<Vec<Measured>> {
        let mut measured: Vec<Measured> = proxies.iter().map(|_| Measured::default()).collect();
        for proxy in proxies {
            self.load(proxy).count(options.requests as usize / 10)?;
        }
        for _ in 0..options.rounds {
            for (proxy, measured) in proxies.iter().zip(&mut measured) {
                let before = proxy.cpu()?;
                self.load(proxy).count(options.requests as usize)?;
                let used = proxy.cpu()? - before;
                measured.cpu.push(used.as_secs_f64() * 1e6 / f64::from(options.requests));
            }
        }
        for (proxy, measured) in proxies.iter().zip(&mut measured) {
            measured.took = self.load(proxy).pace(RATE, Duration::from_millis(1500))?;
        }
        Ok(measured)
    }

    /// Shows the case; returns whether the targets are met.
    fn show(self, proxies: &[Running], measured: &[Measured]) -> bool {
        println!("{self}: CPU µs per request, to nginx, above bare hyper; time at {RATE} a second");
        for (proxy, row) in proxies.iter().zip(measured) {
            println!(
                "  {:<11} {:>6.2} µs {:>6.2} × {:>+6.2} µs   p50 {:>5} µs   p99 {:>6} µs",
                proxy.name,
                median(row.cpu.iter().copied()),
                ratio(row, &measured[NGINX]),
                above(row, &measured[BARE]),
                at(&row.took, 0.50).as_micros(),
                at(&row.took, 0.99).as_micros(),
            );
        }
        let madang = &measured[MADANG];
        let (above_bare, ratio) = (above(madang, &measured[BARE]), ratio(madang, &measured[NGINX]));
        let met = above_bare <= ABOVE_BARE && ratio <= TO_NGINX;
        println!("  at most +{ABOVE_BARE} µs above bare hyper and {TO_NGINX} × nginx: {}", verdict(met));
        let on = above(&measured[ALL], madang);
        let all_met = on <= ABOVE_OFF;
        println!("  with every layer on {on:+.2} µs, at most +{ABOVE_OFF}: {}", verdict(all_met));
        let edge = above(&measured[EDGE], &measured[ASKED]);
        let edge_met = edge <= ABOVE_OFF;
        println!(
            "  with tokens, a limit, CORS and a largest body on {edge:+.2} µs, at most +{ABOVE_OFF}: {}; {:+.2} µs above \
             requests without tokens",
            verdict(edge_met),
            above(&measured[EDGE], madang)
        );
        for other in &measured[ASKED + 1..] {
            println!("  Madang above the other build: {:+.2} µs", above(madang, other));
        }
        met && all_met && edge_met
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP/{}, {} bytes", if self.http2 { "2" } else { "1.1" }, self.size)
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

fn ratio(row: &Measured, to: &Measured) -> f64 {
    median(row.cpu.iter().zip(&to.cpu).map(|(a, b)| a / b))
}

fn above(row: &Measured, base: &Measured) -> f64 {
    median(row.cpu.iter().zip(&base.cpu).map(|(a, b)| a - b))
}

/// The middle value; the mean of the middle two of an even number.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

/// The value that this share of the sorted values is not above.
fn at(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_rounds_own_ratios() {
        let row = |cpu: &[f64]| Measured { cpu: cpu.to_vec(), ..Measured::default() };
        let (fast, slow) = (row(&[10.0, 20.0, 10.0]), row(&[12.0, 24.0, 30.0]));
        assert_eq!(ratio(&slow, &fast), 1.2);
        assert_eq!(above(&slow, &fast), 4.0);
        assert_eq!(median([1.0, 4.0].into_iter()), 2.5);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let took: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(at(&took, 0.5), Duration::from_micros(100));
        assert_eq!(at(&took, 0.99), Duration::from_micros(198));
        assert_eq!(at(&[], 0.99), Duration::ZERO);
    }
}
