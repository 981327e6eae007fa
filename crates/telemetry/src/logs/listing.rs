//! Which log files there are: `{folder}/{unit}/{instance}.log`.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use madang_model::UnitName;

use super::watch::Watch;
use crate::Error;

/// How many files are read: those that were written last.
pub(super) const MOST: usize = 512;

/// What a path names now: the device and inode.
pub(super) type Identity = (u64, u64);

/// The logs that there are, of these units or of all if none is named. A folder is watched before it is listed.
pub(super) fn list(
    folder: &Path,
    units: &[UnitName],
    watch: Option<&Watch>,
) -> Result<BTreeMap<PathBuf, Identity>, Error> {
    let mut logs = Vec::new();
    for folder in unit_folders(folder, units)? {
        if let Some(watch) = watch {
            watch.add(&folder)?;
        }
        let entries = list_folder(&folder).map_err(Error::read(&folder))?;
        let paths = entries.into_iter().map(|entry| entry.path());
        let names = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.extend(names.filter_map(|path| Some((path.metadata().ok()?, path))));
    }
    logs.retain(|(found, _)| found.is_file());
    logs.sort_by_key(|(found, _)| std::cmp::Reverse(found.modified().ok()));
    logs.truncate(MOST);
    Ok(logs.into_iter().map(|(found, path)| (path, identity(&found))).collect())
}

/// The unit and the instance that write a file.
pub(super) fn names(path: &Path) -> (String, String) {
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    (name(path.parent().and_then(Path::file_name)), name(path.file_stem()))
}

pub(super) fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

fn unit_folders(folder: &Path, units: &[UnitName]) -> Result<Vec<PathBuf>, Error> {
    if !units.is_empty() {
        let folders = units.iter().map(|unit| folder.join(unit.as_str()));
        return Ok(folders.filter(|folder| folder.is_dir()).collect());
    }
    let entries = list_folder(folder).map_err(Error::read(folder))?;
    let folders = entries.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}

fn list_folder(folder: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
