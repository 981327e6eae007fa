//! The file that an instance writes its output to: it is the instance's own, so that both can outlive us.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

/// The size of the pieces in which file systems give space back.
const BLOCK: u64 = 4096;

/// How much of the end of a file is looked at for its last lines.
const TAIL: u64 = 16 << 10;

/// The file of an instance of a unit.
pub(crate) fn path(logs: &Path, unit: &str, instance: &str) -> PathBuf {
    logs.join(unit).join(format!("{instance}.log"))
}

/// Makes the file, which only its owner can read, and opens it to append.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The last lines, as far as they are near the end.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    let text = end_of(path, TAIL).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The end of a file, from the beginning of a line on.
pub(crate) fn end_of(path: &Path, most: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text.split_once('\n') {
        Some((_cut, rest)) if skipped > 0 => rest.to_owned(),
        _ => text,
    })
}

/// Gives the oldest part of a log back to the file system once it takes more than `limit` bytes. Offsets and
/// the length stay, so whoever writes or reads it notices nothing.
pub(crate) fn trim(path: &Path, limit: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let metadata = file.metadata()?;
    if metadata.blocks() * 512 <= limit {
        return Ok(());
    }
    // A quarter more than needed, so that it is not done again for every line.
    let end = metadata.len().saturating_sub(limit / 4 * 3) / BLOCK * BLOCK;
    if end == 0 {
        return Ok(());
    }
    Ok(fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, end)?)
}

/// Removes the logs of a unit's instances that are gone, all but the newest.
pub(crate) fn prune(folder: &Path, live: &BTreeSet<PathBuf>, keep: usize) -> io::Result<()> {
    let mut old = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_log && !live.contains(&path) {
            old.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    old.sort();
    for (_, path) in old.iter().rev().skip(keep) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("logs"), "users", "users-a");
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_head_of_a_long_log_is_given_back_and_its_end_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.log");
        let mut file = create(&path).unwrap();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..10_000 {
            file.write_all(line.as_bytes()).unwrap();
        }
        file.write_all(b"last").unwrap();
        file.sync_all().unwrap();
        let limit = 256 << 10;
        assert!(fs::metadata(&path).unwrap().blocks() * 512 > limit);
        trim(&path, limit).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.len(), 1_000_004);
        assert!(after.blocks() * 512 <= limit, "{}", after.blocks() * 512);
        assert!(end_of(&path, 100_000).unwrap().starts_with(&line));
        file.write_all(b" and more").unwrap();
        assert!(last_lines(&path, 1) == "last and more");
    }

    #[test]
    fn the_newest_of_the_old_logs_are_kept_and_the_live_ones() {
        let folder = tempfile::tempdir().unwrap();
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        for n in 0..6 {
            let file = create(&folder.path().join(format!("{n}.log"))).unwrap();
            file.set_modified(epoch + std::time::Duration::from_secs(n)).unwrap();
        }
        prune(folder.path(), &[folder.path().join("0.log")].into(), 2).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["0.log", "4.log", "5.log"]);
    }

    #[test]
    fn last_lines_of_short_and_missing_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        assert_eq!(last_lines(&path, 20), "");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(last_lines(&path, 2), "two\nthree");
        assert_eq!(last_lines(&path, 20), "one\ntwo\nthree");
    }
}
