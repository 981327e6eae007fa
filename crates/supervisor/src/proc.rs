//! What the kernel says of processes, in `/proc`. The only module that knows its format.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// What is read of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) zombie: bool,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it started, in clock ticks since boot: with the pid and the boot it names a process for ever.
    pub(crate) started: u64,
}

fn file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// Reads one process; `None` if there is none.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(file(pid, "stat")).ok()?)
}

fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    // The second field is the name, in brackets; it may hold anything, brackets and blanks too.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Every process of the machine.
pub(crate) fn all() -> impl Iterator<Item = Stat> {
    pids().filter_map(stat)
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process was started with `NAME=value` in its environment. Those of other users are not told.
pub(crate) fn has_variable(pid: i32, variable: &str) -> bool {
    let environment = fs::read(file(pid, "environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| entry == variable.as_bytes())
}

/// The environment that a process was started with; empty if that is not told.
pub(crate) fn environment(pid: i32) -> Vec<(String, String)> {
    let environment = fs::read(file(pid, "environ")).unwrap_or_default();
    let entries = environment.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    entries.filter_map(|entry| entry.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()))).collect()
}

/// The command line, for people; the name in brackets where there is none.
pub(crate) fn command_line(pid: i32) -> String {
    let line = fs::read(file(pid, "cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    match line.trim() {
        "" => format!("[{}]", fs::read_to_string(file(pid, "comm")).unwrap_or_default().trim()),
        line => shortened(line),
    }
}

/// As much of a line as is told among other things: a table has to bear it.
fn shortened(line: &str) -> String {
    const MOST: usize = 60;
    match line.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
        None => line.to_owned(),
    }
}

/// The parent of a process; `None` if it has none or is gone.
pub fn parent_of(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.parent).filter(|parent| *parent > 0)
}

/// What processes take of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory in bytes; what several processes share counts for each.
    pub(crate) memory: u64,
    /// Processor time in microseconds, with that of children that were waited for.
    pub(crate) cpu_us: u64,
}

/// What each of these processes takes, with everybody in the process group that it leads: a program may be started by
/// a shell, or have workers of its own. Who is gone is missing.
pub(crate) fn usage(leaders: &BTreeSet<i32>) -> BTreeMap<i32, Usage> {
    let mut used: BTreeMap<i32, Usage> = BTreeMap::new();
    if leaders.is_empty() {
        return used;
    }
    for process in all() {
        let of = if leaders.contains(&process.pid) { process.pid } else { process.group };
        if let (true, Some(own)) = (leaders.contains(&of), usage_of(process.pid)) {
            let sum = used.entry(of).or_default();
            sum.memory += own.memory;
            sum.cpu_us += own.cpu_us;
        }
    }
    used
}

fn usage_of(pid: i32) -> Option<Usage> {
    let stat = fs::read_to_string(file(pid, "stat")).ok()?;
    let cpu_us = parse_processor_time(&stat, rustix::param::clock_ticks_per_second())?;
    Some(Usage { memory: resident(pid).unwrap_or(0), cpu_us })
}

/// Resident memory in bytes.
fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(file(pid, "status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn parse_processor_time(text: &str, per_second: u64) -> Option<u64> {
    let (_, rest) = text.rsplit_once(") ")?;
    let times: Vec<&str> = rest.split_ascii_whitespace().skip(11).take(4).collect();
    let ticks = times.iter().map(|time| time.parse::<u64>().ok()).sum::<Option<u64>>()?;
    (times.len() == 4).then(|| ticks * 1_000_000 / per_second.max(1))
}

/// The id of this boot of the machine: pids and clock ticks of another mean nothing.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The ports that the kernel gives to outgoing connections.
pub(crate) fn ephemeral_ports() -> Option<(u16, u16)> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_ascii_whitespace();
    Some((ends.next()?.parse().ok()?, ends.next()?.parse().ok()?))
}

/// The inodes of the sockets that listen on a TCP port, on any address. The tables have a line for each connection of
/// the machine: they are read line by line.
pub(crate) fn listeners(port: u16) -> Vec<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| File::open(table).ok());
    tables.flat_map(|table| listening(BufReader::new(table), port)).collect()
}

/// Those of one table; what cannot be read ends it.
fn listening(mut table: impl BufRead, port: u16) -> Vec<u64> {
    let (mut line, mut inodes) = (String::new(), Vec::new());
    while table.read_line(&mut line).is_ok_and(|read| read > 0) {
        inodes.extend(listener(&line, port));
        line.clear();
    }
    inodes
}

fn listener(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
    let listens = fields.nth(1)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
    listens.then(|| fields.nth(5)?.parse().ok()).flatten()
}

/// The process that has a socket open, as far as it can be seen.
pub(crate) fn holder_of(inode: u64) -> Option<i32> {
    pids().find(|&pid| holds(pid, &[inode]))
}

/// Whether a process has one of these sockets open, as far as it can be seen.
pub(crate) fn holds(pid: i32, inodes: &[u64]) -> bool {
    let sockets: Vec<_> = inodes.iter().map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect();
    let open = fs::read_dir(file(pid, "fd")).into_iter().flatten().flatten();
    open.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| sockets.contains(&link)))
}

/// Whether the output of a process goes to this file, as far as it can be seen.
pub(crate) fn writes_to(pid: i32, log: &Path) -> bool {
    ["fd/1", "fd/2"].iter().any(|output| fs::read_link(file(pid, output)).is_ok_and(|open| open == log))
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse() {
        let line = "77 (a) b (c)) Z 1 70 60 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let stat = parse_stat(77, line).unwrap();
        let expected = Stat { pid: 77, zombie: true, parent: 1, group: 70, session: 60, started: 4242 };
        assert_eq!(stat, expected);
    }

    #[test]
    fn a_long_command_line_is_cut_where_a_table_bears_it() {
        assert_eq!(shortened("node users.js"), "node users.js");
        let long = shortened(&"가나다 ".repeat(100));
        assert!(long.ends_with("가나다…") && long.chars().count() <= 61, "{long}");
    }

    #[test]
    fn processor_time_is_that_of_the_process_and_of_its_children() {
        let line = "77 (a) b (c)) S 1 70 60 0 -1 4 0 0 0 0 10 20 3 4 20 0 1 0 4242 0 0";
        assert_eq!(parse_processor_time(line, 100), Some(370_000));
        assert_eq!(parse_processor_time("77 (a) S 1 70", 100), None);
    }

    #[test]
    fn finds_itself() {
        let me = std::process::id().cast_signed();
        assert!(all().any(|process| process.pid == me && !process.zombie));
        assert!(resident(me).unwrap() > 100_000);
        assert!(command_line(me).contains("supervisor"));
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn what_a_group_takes_is_the_sum_of_its_processes() {
        let mut shell = std::process::Command::new("sh");
        // The second one is there before the line is written.
        shell.args(["-c", "sleep 1000 & echo there; wait"]).stdout(std::process::Stdio::piped());
        let mut shell = std::os::unix::process::CommandExt::process_group(&mut shell, 0).spawn().unwrap();
        let mut line = [0; 6];
        io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let leader = shell.id().cast_signed();
        let used = usage(&BTreeSet::from([leader, i32::MAX]));
        let one = resident(leader).unwrap();
        let group = rustix::process::Pid::from_raw(leader).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert_eq!(used.len(), 1, "who is not there is missing: {used:?}");
        assert!(used[&leader].memory > one, "{used:?} of which {one} are the leader's");
    }

    #[test]
    fn finds_who_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = listeners(listener.local_addr().unwrap().port());
        assert_eq!(inodes.len(), 1);
        assert_eq!(holder_of(inodes[0]), Some(std::process::id().cast_signed()));
    }

    #[test]
    fn a_table_is_read_to_its_end_whoever_else_is_in_it() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |port: &str, state: &str, inode: u32| {
            format!(
                "   0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1\n"
            )
        };
        let others: String = (0..5000).map(|inode| line("0BB9", "01", inode)).collect();
        let table =
            [head, &line("0BB9", "0A", 7), &others, &line("0BBA", "0A", 8), &line("0BB9", "0A", 9)].concat();
        assert_eq!(listening(table.as_bytes(), 3001), [7, 9]);
    }
}
