//! The processes of a system, found as the kernel sees them and not as Madang says.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// Sends a signal to a process; one that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Stops a process as a debugger does. When this returns none of its threads runs any more: the signal alone leaves
/// those on other cores the time to answer a request.
///
/// # Panics
/// If they go on nevertheless.
pub fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    let step = Duration::from_millis(1); // the kernel tells only the parent
    for _ in 0..PATIENCE.as_millis() {
        if !runs(pid) {
            return;
        }
        thread::sleep(step);
    }
    panic!("{pid} does not stop");
}

/// Whether any thread of a process is not stopped.
fn runs(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        // The name before it may hold anything.
        stat.rsplit_once(") ")?.1.chars().next()
    });
    states.any(|state| !"TtXZ".contains(state))
}

/// Kills a process as `kill -9` does.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Every process that works in a folder or below it, or whose environment or command line names it: whoever a
/// system left behind. Zombies are left out.
pub fn processes_of(folder: &Path) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|pid| *pid != std::process::id());
    others.filter_map(|pid| Some((pid, belongs_to(pid, folder)?))).collect()
}

fn belongs_to(pid: u32, folder: &Path) -> Option<String> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let command = fs::read(process.join("cmdline")).ok().filter(|command| !command.is_empty())?;
    let works_there = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let name = folder.as_os_str().as_bytes();
    let names_it = |bytes: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    let told = fs::read(process.join("environ")).is_ok_and(|environ| names_it(&environ));
    let shown = String::from_utf8_lossy(OsStr::from_bytes(&command).as_bytes()).replace('\0', " ");
    (works_there || told || names_it(&command)).then_some(shown)
}
