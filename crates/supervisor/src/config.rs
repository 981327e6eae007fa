//! How a supervisor is set up, beyond what the manifest says.

use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf, time::Duration};

use madang_model::UnitName;

/// How a supervisor is set up. The defaults are those of a node; only `logs` has none that serves.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the logs: `{logs}/{unit}/{instance}.log`.
    pub logs: PathBuf,
    /// How long an instance may take from its start until it is ready.
    pub start_deadline: Duration,
    /// How long requests that are in flight at an instance may take before it is told to stop. A program that
    /// does not hear the signal ends at once, with whatever it was answering.
    pub quiet: Duration,
    /// How long an instance may take to end its work once it is told to stop.
    pub drain: Duration,
    /// When an instance that has no port counts as ready: when it has run for this long.
    pub settle: Duration,
    /// How an instance that is ready is watched.
    pub probe: Probing,
    /// When an instance that exited is started again.
    pub backoff: Backoff,
    /// How many bytes of an instance's output are kept; what is older is given back to the file system.
    pub log_limit: u64,
    /// How many logs of instances that are gone are kept for each unit.
    pub old_logs: usize,
    /// The ports that instances are told, as far as they are outside the range of ephemeral ports.
    pub ports: RangeInclusive<u16>,
    /// The units that are not started because a person runs them, each with the port that it is told if one is assigned.
    pub by_hand: BTreeMap<UnitName, u16>,
}

/// How an instance that is ready is watched.
#[derive(Debug, Clone, Copy)]
pub struct Probing {
    /// The pause between two probes.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many failures in a row take it out of rotation.
    pub failures: u32,
}

/// When an instance that exited is started again.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// An instance that was ready for this long starts from the first pause again.
    pub healthy_after: Duration,
    /// How many starts in a row may fail without one that becomes ready; then no more are made.
    pub attempts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            logs: PathBuf::from(".madang/logs"),
            start_deadline: Duration::from_secs(60),
            quiet: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            settle: Duration::from_secs(1),
            probe: Probing::default(),
            backoff: Backoff::default(),
            log_limit: 64 << 20,
            old_logs: 10,
            ports: 20_000..=29_999,
            by_hand: BTreeMap::new(),
        }
    }
}

impl Default for Probing {
    fn default() -> Self {
        Self { every: Duration::from_secs(5), timeout: Duration::from_millis(500), failures: 3 }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(10),
            healthy_after: Duration::from_secs(60),
            attempts: 5,
        }
    }
}
