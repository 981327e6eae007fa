//! What the machine knows of this process and its files.

use std::{
    error::Error,
    fs::{self, File},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::Advice,
    time::{ClockId, clock_gettime},
};

/// Processor time of this process, in user and system mode, over all its threads.
pub fn cpu() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// The same of this thread alone.
pub fn own_cpu() -> Duration {
    time(ClockId::ThreadCPUTime)
}

fn time(clock: ClockId) -> Duration {
    let used = clock_gettime(clock);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}

/// Resident memory of this process, in bytes.
pub fn resident() -> Result<u64, Box<dyn Error>> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split(' ').nth(1).ok_or("no such number")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// What the archive takes on the disk, in bytes.
pub fn size(folder: &Path) -> std::io::Result<u64> {
    Ok(fs::metadata(folder.join("telemetry.db"))?.len())
}

/// Has the kernel forget what it knows of the archive's content, so that it is read from the disk again.
pub fn evict(folder: &Path) -> Result<(), Box<dyn Error>> {
    for name in ["telemetry.db", "telemetry.db-wal"] {
        let Ok(file) = File::open(folder.join(name)) else { continue };
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
