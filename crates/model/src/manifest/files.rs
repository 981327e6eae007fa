//! The files of a manifest: where they are, how they are read, which ones an `include` means.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::error::{Code, Errors, ManifestError};
use crate::nearest;

/// The name of a manifest in its folder.
pub(super) const MANIFEST: &str = "madang.toml";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// The most files that one `include` may mean.
pub(super) const MOST_FILES: usize = 1_000;

/// Where files are read from.
pub(super) trait Files {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// The names in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
}

/// The disk of this machine.
pub(super) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        if fs::metadata(path)?.len() > LARGEST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {LARGEST} bytes"),
            ));
        }
        fs::read_to_string(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }
}

/// Finds the manifest that `path` means: a folder with a `madang.toml`, or a manifest file. Gives its absolute
/// path, in which the folder is free of symbolic links.
pub fn find(path: &Path) -> Result<PathBuf, Errors> {
    let file = if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() };
    let no_manifest = || Err(nothing(path, &file).into());
    if !file.is_file() {
        return no_manifest();
    }
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return no_manifest() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(_) => no_manifest(),
    }
}

fn nothing(path: &Path, file: &Path) -> ManifestError {
    let message = match path.is_dir() {
        true => format!("there is no {MANIFEST} in {}", path.display()),
        false => format!("there is no manifest at {}", path.display()),
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut others = Disk.list(folder).unwrap_or_default();
    others.retain(|name| name.ends_with(".toml"));
    others.sort();
    let wanted = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let manifests = others.iter().filter(|name| name.starts_with("madang"));
    let meant =
        nearest(&wanted, others.iter().map(String::as_str)).or_else(|| manifests.map(String::as_str).next());
    let above = folder.canonicalize().unwrap_or_default();
    let above = above.ancestors().skip(1).map(|folder| folder.join(MANIFEST)).find(|file| file.is_file());
    let help = match meant.map(|meant| folder.join(meant)).or(above) {
        Some(meant) => format!("did you mean {}?", meant.display()),
        None => format!(
            "name a folder with a {MANIFEST}, or a manifest file; the smallest one is\n\n[services.hello]\nrun = \"node hello.js\"\nroutes = [\"/**\"]"
        ),
    };
    ManifestError::new(Code::NO_MANIFEST, message).hint(help)
}

/// The file that is laid over another in an environment: `madang.production.toml` over `madang.toml`.
pub(super) fn overlay(base: &Path, environment: &str) -> PathBuf {
    base.with_extension(format!("{environment}.toml"))
}

/// The file of a system's secrets: each environment has its own, so that nothing meant for one is used in another.
pub fn secrets(root: &Path, environment: Option<&str>) -> PathBuf {
    match environment {
        Some(environment) => root.join(format!("madang-secrets.{environment}.toml")),
        None => root.join("madang-secrets.toml"),
    }
}

/// Whether a file is laid over another in some environment.
pub(super) fn is_overlay(file: &Path, base: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(file_name), Some(base_name)) = (name(file), name(base)) else { return false };
    let stem = base_name.strip_suffix(".toml").unwrap_or(&base_name);
    let rest = file_name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'));
    file.parent() == base.parent()
        && rest.is_some_and(|rest| rest.len() > ".toml".len() && rest.ends_with(".toml"))
}

/// The environments for which a file has overlays beside it.
pub(super) fn environments(base: &Path, files: &dyn Files) -> Vec<String> {
    let (Some(folder), Some(stem)) = (base.parent(), base.file_stem()) else { return Vec::new() };
    let prefix = format!("{}.", stem.to_string_lossy());
    let names = files.list(folder).unwrap_or_default().into_iter();
    let between = |name: String| Some(name.strip_prefix(&prefix)?.strip_suffix(".toml")?.to_owned());
    names.filter_map(between).filter(|name| !name.is_empty() && !name.contains('.')).collect()
}

/// The files that a pattern means, in order; `*` stands for any part of one name, but for a leading dot.
pub(super) fn matching(pattern: &str, root: &Path, files: &dyn Files) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let parts: Vec<Component> = Path::new(pattern).components().collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let mut next = Vec::new();
        for folder in found {
            match part {
                Component::Normal(name) => {
                    let name = name.to_string_lossy();
                    // Every part is looked up in its folder, so that what does not exist matches nothing.
                    let Ok(mut names) = files.list(&folder) else { continue };
                    names.retain(|candidate| fits(&name, candidate));
                    names.sort();
                    next.extend(names.into_iter().map(|name| folder.join(name)));
                }
                Component::ParentDir => next.push(folder.parent().unwrap_or(&folder).to_owned()),
                Component::CurDir => next.push(folder),
                root => next.push(root.as_os_str().into()),
            }
        }
        next.truncate(MOST_FILES + 1);
        found = next;
        if last {
            break;
        }
    }
    found
}

/// Whether a name fits a pattern with stars.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_part_of_a_name() {
        for (pattern, name, expected) in [
            ("*", "orders", true),
            ("*", ".git", false),
            (".*", ".git", true),
            ("service.toml", "service.toml", true),
            ("service.toml", "service.toml2", false),
            ("*.toml", "a.toml", true),
            ("*.toml", "a.tomlx", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axbybzc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn finds_folders_and_files_and_says_what_is_near() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let errors = find(&root).unwrap_err();
        assert_eq!(errors.iter().map(ManifestError::kind).collect::<Vec<_>>(), [Code::NO_MANIFEST]);
        fs::write(root.join("madang.toml"), "").unwrap();
        fs::write(root.join("madang.monolith.toml"), "").unwrap();
        assert_eq!(find(&root).unwrap(), root.join("madang.toml"));
        fs::create_dir(root.join("orders")).unwrap();
        assert_eq!(
            find(&root.join("orders/../madang.monolith.toml")).unwrap(),
            root.join("madang.monolith.toml")
        );
    }

    #[test]
    fn too_large_a_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("madang.toml");
        fs::write(&file, "#".repeat(LARGEST as usize + 1)).unwrap();
        assert_eq!(Disk.read(&file).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
