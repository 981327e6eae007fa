//! What an answer costs that the gateway keeps, beside nginx's cache in the same run.
//!
//! Rounds are interleaved; a ratio is taken within a round, and the median of them is shown.

use anyhow::{Result, ensure};
use clap::Args;

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

/// What is promised: CPU time in proportion to nginx's.
const TO_NGINX: f64 = 1.3;

/// Options of `cargo xtask bench cache`.
#[derive(Args)]
pub struct Options {
    /// How many rounds; each measures everybody once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many requests are counted for each in a round.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    requests: u32,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
    /// Says that this program is built for release and so is Madang.
    #[arg(long, hide = true)]
    built: bool,
}

/// Over HTTP/2 or HTTP/1.1, and the size of the answers in bytes.
const CASES: [(bool, usize); 4] = [(false, 1024), (false, 16 * 1024), (true, 1024), (true, 16 * 1024)];

/// Where each is in the list of them.
const NGINX: usize = 0;
const MADANG: usize = 1;

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    if options.built {
        return measure(options);
    }
    needs::satisfy(&[needs::NGINX])?;
    command::again_for_release(&PROXIES)
}

fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let release = release()?;
    let upstream = peers::upstream(&release.join("xtask"))?;
    let proxy = release.join("examples/proxy");
    let peers = [
        peers::nginx_with_cache(folder.path(), upstream.http1)?,
        peers::madang_with_cache(&proxy, upstream.http1)?,
        peers::madang(&proxy, upstream.http1, None)?,
    ];
    let mut met = true;
    for (http2, size) in CASES {
        let load = |peer: &Running| Load {
            address: if http2 { peer.http2 } else { peer.http1 },
            http2,
            size,
            clients: CLIENTS,
            fields: &[],
            tls: None,
        };
        // The first answers are fetched; what is measured is in nobody's way after that.
        for peer in &peers {
            load(peer).count(options.requests as usize / 10)?;
        }
        let asked = upstream.cpu()?;
        for peer in &peers[..=MADANG] {
            load(peer).count(options.requests as usize / 10)?;
        }
        let used = (upstream.cpu()? - asked).as_micros();
        ensure!(used < u128::from(options.requests / 20), "the service was asked: it took {used} µs");
        let mut cpu = [const { Vec::new() }; 3];
        for _ in 0..options.rounds {
            for (peer, cpu) in peers.iter().zip(&mut cpu) {
                let before = peer.cpu()?;
                load(peer).count(options.requests as usize)?;
                let used = peer.cpu()? - before;
                cpu.push(used.as_secs_f64() * 1e6 / f64::from(options.requests));
            }
        }
        let ratio = |at: usize| median(cpu[at].iter().zip(&cpu[NGINX]).map(|(a, b)| a / b));
        println!("HTTP/{}, {size} bytes: CPU µs per request, to nginx", if http2 { "2" } else { "1.1" });
        for (at, peer) in peers.iter().enumerate() {
            println!("  {:<14} {:>6.2} µs {:>6.2} ×", peer.name, median(cpu[at].iter().copied()), ratio(at));
        }
        let is_met = ratio(MADANG) <= TO_NGINX;
        println!("  at most {TO_NGINX} × nginx: {}", if is_met { "met" } else { "missed" });
        met &= is_met;
    }
    for peer in &peers {
        println!("{:<14} {:>6.1} MiB resident", peer.name, peer.resident()? as f64 / f64::from(1 << 20));
    }
    ensure!(met || !options.check, "a target is missed");
    Ok(())
}
