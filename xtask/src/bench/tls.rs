//! What TLS costs at the gateway, beside nginx: the beginning of connections, and requests on those that are open.
//!
//! Rounds are interleaved as in `gateway`. Both have the same key on P-256, and the client leaves them no choice: TLS 1.3,
//! X25519, AES-128-GCM.

mod client;
mod proxies;

use std::fmt;

use anyhow::{Result, ensure};
use clap::Args;

pub use self::client::Connector;
use super::gateway::{
    CLIENTS, PROXIES,
    load::Load,
    median,
    peers::{self, Running},
};
use crate::{
    command::{self, release},
    needs,
};

/// CPU time in proportion to nginx's that is not to be passed: what is promised without TLS.
const TO_NGINX: f64 = 1.4;

/// Options of `cargo xtask bench tls`.
#[derive(Args)]
pub struct Options {
    /// How many rounds; each measures both once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many requests are counted for each in a round.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    requests: u32,
    /// How many connections are counted for each in a round.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    connections: u32,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
    /// Says that this program is built for release and so is Madang.
    #[arg(long, hide = true)]
    built: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Case {
    /// Connections with one request each; whether they go on with what was agreed on before.
    Connections { resumed: bool },
    /// Requests over connections that are open.
    Requests { http2: bool, size: usize },
}

const CASES: [Case; 6] = [
    Case::Connections { resumed: false },
    Case::Connections { resumed: true },
    Case::Requests { http2: false, size: 128 },
    Case::Requests { http2: false, size: 16 * 1024 },
    Case::Requests { http2: true, size: 128 },
    Case::Requests { http2: true, size: 16 * 1024 },
];

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    if options.built { measure(options) } else { build_and_measure() }
}

/// Builds everything for release and starts over in the program built so.
fn build_and_measure() -> Result<()> {
    needs::satisfy(&[needs::NGINX])?;
    command::again_for_release(&PROXIES)
}

fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let release = release()?;
    let upstream = peers::upstream(&release.join("xtask"))?;
    let own = proxies::certificate(folder.path())?;
    let proxies = [
        proxies::nginx(folder.path(), upstream.http1)?,
        proxies::madang(&release.join("examples/proxy"), folder.path(), upstream.http1)?,
    ];
    let mut met = true;
    for case in CASES {
        let measured = case.measure(&own, &proxies, options)?;
        met &= case.show(&proxies, &measured);
    }
    for proxy in &proxies {
        println!("{:<8} {:>6.1} MiB resident", proxy.name, proxy.resident()? as f64 / f64::from(1 << 20));
    }
    ensure!(met || !options.check, "a target is missed");
    Ok(())
}

// === impl Case ===

impl Case {
    /// CPU time for each in µs, of each proxy by round.
    fn measure(self, own: &[u8], proxies: &[Running; 2], options: &Options) -> Result<[Vec<f64>; 2]> {
        let count = match self {
            Self::Connections { .. } => options.connections,
            Self::Requests { .. } => options.requests,
        };
        // For each its own, with what it has agreed on with it before.
        let connectors = [self.connector(own)?, self.connector(own)?];
        for (proxy, connector) in proxies.iter().zip(connectors) {
            self.load(proxy, connector, count as usize / 10)?;
        }
        let mut measured = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for ((proxy, connector), measured) in proxies.iter().zip(connectors).zip(&mut measured) {
                let before = proxy.cpu()?;
                self.load(proxy, connector, count as usize)?;
                let used = proxy.cpu()? - before;
                measured.push(used.as_secs_f64() * 1e6 / f64::from(count));
            }
        }
        Ok(measured)
    }

    /// As long as the bench runs, which ends with the program.
    fn connector(self, own: &[u8]) -> Result<&'static Connector> {
        let (resumes, http2) = match self {
            Self::Connections { resumed } => (resumed, false),
            Self::Requests { http2, .. } => (true, http2),
        };
        Ok(Box::leak(Box::new(Connector::new(own, resumes, http2)?)))
    }

    fn load(self, proxy: &Running, connector: &'static Connector, count: usize) -> Result<()> {
        match self {
            Self::Connections { resumed } => client::connections(proxy.http1, connector, count, resumed),
            Self::Requests { http2, size } => {
                let (address, tls) = (proxy.http1, Some(connector));
                Load { address, http2, size, clients: CLIENTS, fields: &[], tls }.count(count)
            }
        }
    }

    /// Shows the case; returns whether the target is met.
    fn show(self, proxies: &[Running; 2], measured: &[Vec<f64>; 2]) -> bool {
        println!("{self}: CPU µs for each, to nginx; how many a second of CPU");
        let ratio = |cpu: &[f64]| median(cpu.iter().zip(&measured[0]).map(|(own, nginx)| own / nginx));
        for (proxy, cpu) in proxies.iter().zip(measured) {
            let each = median(cpu.iter().copied());
            println!("  {:<8} {each:>7.2} µs {:>6.2} × {:>8.0}", proxy.name, ratio(cpu), 1e6 / each);
        }
        let met = ratio(&measured[1]) <= TO_NGINX;
        println!("  at most {TO_NGINX} × nginx: {}", if met { "met" } else { "missed" });
        met
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections { resumed: false } => f.write_str("connections with a request each"),
            Self::Connections { resumed: true } => f.write_str("the same, resumed"),
            Self::Requests { http2, size } => {
                write!(f, "requests over HTTP/{}, {size} bytes", if *http2 { "2" } else { "1.1" })
            }
        }
    }
}
