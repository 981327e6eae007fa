//! What it costs to keep telemetry and to ask for it, for `cargo xtask bench telemetry`, which reads what it prints.
//!
//! - `archive fill FOLDER COUNT` keeps so many spans and as many log lines of one day, with metrics of a month;
//! - `archive ask FOLDER COUNT [NAME…]` asks what people ask of it: all of it, or what has these names;
//! - `archive flood FOLDER SECONDS` tells for so long ten times what is kept, in an archive of its own.
//!
//! It prints `figure NAME VALUE UNIT`, and for each question `answer NAME COLD SLOWEST WARM SLOWEST FOUND` with times in
//! milliseconds.

mod ask;
mod fill;
mod flood;
mod machine;
mod shop;
mod words;

use std::{error::Error, path::PathBuf};

use madang_telemetry::ArchiveConfig;

/// Far more than is made here: a bound that is reached would delete what is asked for.
const LARGEST: u64 = 1 << 42;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().ok_or("fill, ask or flood")?;
    let folder: PathBuf = arguments.next().ok_or("the folder of the archive")?.into();
    let count: u64 = arguments.next().ok_or("how many")?.parse()?;
    match what.as_str() {
        "fill" => fill::run(&folder, count).await,
        "ask" => ask::run(&folder, count, &arguments.collect::<Vec<_>>()).await,
        "flood" => flood::run(&folder, count).await,
        other => Err(format!("\"{other}\" is neither fill nor ask nor flood").into()),
    }
}

fn config() -> ArchiveConfig {
    ArchiveConfig { largest: LARGEST, ..ArchiveConfig::default() }
}

fn figure(name: &str, value: f64, unit: &str) {
    println!("figure {name} {value:.3} {unit}");
}
