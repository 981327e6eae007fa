//! What the kernel knows of a process: its memory and its time.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What it holds resident (`VmRSS`).
    pub resident: u64,
    /// The same with each shared page divided by those who share it (`Pss`).
    pub proportional: u64,
}

/// Reads the memory of a running process.
pub fn memory(pid: u32) -> Result<Memory> {
    let read = |file: &str, key: &str| -> Result<u64> {
        let path = format!("/proc/{pid}/{file}");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        kibibytes(&text, key).with_context(|| format!("{path} has no {key}"))
    };
    Ok(Memory { resident: read("status", "VmRSS:")?, proportional: read("smaps_rollup", "Pss:")? })
}

/// The time that a process ran on a core so far, in user and system mode, over all its threads.
pub fn cpu(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut nanos = 0;
    for task in fs::read_dir(&folder).with_context(|| format!("failed to read {folder}"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        nanos += ran.with_context(|| format!("{folder} tells no time"))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The bytes that a line such as `VmRSS:   123 kB` tells.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_memory_of_this_process() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 100_000, "{memory:?}");
    }

    #[test]
    fn reads_the_line_asked_for() {
        assert_eq!(kibibytes("VmPeak: 9 kB\nVmRSS:\t     12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kibibytes("VmPeak: 9 kB\n", "VmRSS:"), None);
    }
}
