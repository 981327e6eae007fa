//! The secrets of a system, sealed in a file that may be kept with its code. Whoever has the key, which is elsewhere,
//! can open them: `madang secret`, and a node when it starts an instance that is to know one.
//!
//! - `file`: what stands in the file;
//! - `key`: the key, and where it is kept.

mod file;
mod key;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use madang_model::manifest::is_secret;
use rustix::fs::{FlockOperation, flock};

use file::Sealed;
pub use key::{Key, Keys};

/// The longest value in bytes: what a variable of an environment can hold, with room to spare.
pub const LONGEST: usize = 64 << 10;

/// The secrets in one file.
#[derive(Debug, Clone)]
pub struct Secrets {
    file: PathBuf,
    keys: Keys,
}

/// Why a secret cannot be told or kept. Nothing of any secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not there.
    #[error("there is no secret \"{name}\" in {file}: `madang secret set {name}` keeps one")]
    Unknown {
        /// Its name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// The name cannot be one.
    #[error("{0:?} cannot be the name of a secret: letters, digits, `-` and `_`, 64 at most")]
    Name(String),
    /// The value cannot be one.
    #[error("the value of a secret {0}")]
    Value(&'static str),
    /// The key is not here.
    #[error("{file} is sealed with the key {id}, which is not here: {way_out}")]
    NoKey {
        /// Which.
        id: String,
        /// The file.
        file: PathBuf,
        /// Where to put it.
        way_out: String,
    },
    /// What should be a key is none.
    #[error("{place} holds no key: 64 hexadecimal digits are one")]
    BadKey {
        /// Where.
        place: String,
    },
    /// Others can read the key.
    #[error("others can read the key {0}: `chmod 600` it, and think of who has read it", path.display())]
    OpenKey {
        /// Its file.
        path: PathBuf,
    },
    /// There is no place for a key.
    #[error("there is no folder for the key: set HOME, or {variable} to a key", variable = key::VARIABLE)]
    NoPlace,
    /// A file is not what it should be.
    #[error("{file} is no file of secrets: {why}")]
    Format {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A secret was changed by something else.
    #[error("the secret \"{name}\" in {file} cannot be opened: something else than `madang secret` wrote it")]
    Damaged {
        /// Its name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("failed to {what} {path}", path = path.display())]
    Io {
        /// Which of both.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

// === impl Secrets ===

impl Secrets {
    /// Those of a file, which need not be there yet, with these keys.
    pub fn at(file: &Path, keys: Keys) -> Self {
        Self { file: file.to_owned(), keys }
    }

    /// Where they are.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Their names in order; no key is needed to know them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn names(&self) -> Result<Vec<String>, SecretError> {
        Ok(self.read()?.map(|sealed| sealed.names()).unwrap_or_default())
    }

    /// What a secret is.
    ///
    /// # Errors
    /// If it is not there, or its key is not here.
    pub fn reveal(&self, name: &str) -> Result<String, SecretError> {
        let unknown = || SecretError::Unknown { name: name.to_owned(), file: self.file.clone() };
        let sealed = self.read()?.filter(|sealed| sealed.has(name)).ok_or_else(unknown)?;
        let key = self.keys.find(sealed.key(), &self.file)?;
        self.open(&sealed, &key, name)
    }

    /// Keeps a secret, under a new key if it is the first in the file. Gives the file of a key that was made.
    ///
    /// # Errors
    /// If it cannot be kept: then all is as it was.
    pub fn set(&self, name: &str, value: &str) -> Result<Option<PathBuf>, SecretError> {
        if !is_secret(name) {
            return Err(SecretError::Name(name.to_owned()));
        }
        check(value)?;
        let _alone = self.alone()?;
        let (mut sealed, key, made) = match self.read()? {
            Some(sealed) => {
                let key = self.keys.find(sealed.key(), &self.file)?;
                (sealed, key, None)
            }
            None => {
                let (key, made) = self.keys.make()?;
                (Sealed::new(&key), key, made)
            }
        };
        sealed.seal(&key, self.scope(), name, value);
        self.write(&sealed)?;
        Ok(made)
    }

    /// Forgets a secret; whether it was there.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn remove(&self, name: &str) -> Result<bool, SecretError> {
        let _alone = self.alone()?;
        let Some(mut sealed) = self.read()? else { return Ok(false) };
        let there = sealed.remove(name);
        if there {
            self.write(&sealed)?;
        }
        Ok(there)
    }

    /// Seals all of them with a new key, for when somebody is not to have it any more. Gives its file.
    ///
    /// # Errors
    /// If there is nothing to seal, the old key is not here, or the new one cannot be kept.
    pub fn rekey(&self) -> Result<PathBuf, SecretError> {
        let _alone = self.alone()?;
        let none = || SecretError::Format { file: self.file.clone(), why: "there is none".to_owned() };
        let old = self.read()?.ok_or_else(none)?;
        let key = self.keys.find(old.key(), &self.file)?;
        let values = old.names().into_iter().map(|name| {
            let value = self.open(&old, &key, &name)?;
            Ok((name, value))
        });
        let values = values.collect::<Result<Vec<_>, SecretError>>()?;
        let (new, made) = self.keys.make_new()?;
        let mut sealed = Sealed::new(&new);
        for (name, value) in values {
            sealed.seal(&new, self.scope(), &name, &value);
        }
        self.write(&sealed)?;
        Ok(made)
    }

    /// The key that they are sealed with, and where it is: `None` if there is nothing sealed.
    ///
    /// # Errors
    /// If it is not here.
    pub fn key(&self) -> Result<Option<Key>, SecretError> {
        let Some(sealed) = self.read()? else { return Ok(None) };
        self.keys.find(sealed.key(), &self.file).map(Some)
    }

    fn open(&self, sealed: &Sealed, key: &Key, name: &str) -> Result<String, SecretError> {
        let damaged = || SecretError::Damaged { name: name.to_owned(), file: self.file.clone() };
        sealed.open(key, self.scope(), name).ok_or_else(damaged)
    }

    /// What is sealed in one file cannot be opened in another: those of an environment stay in it.
    fn scope(&self) -> &str {
        self.file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    fn read(&self) -> Result<Option<Sealed>, SecretError> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed_to("read", &self.file)(source)),
        };
        let format = |why| SecretError::Format { file: self.file.clone(), why };
        Sealed::parse(&text).map(Some).map_err(format)
    }

    /// Whole or not at all, and on the disk when this returns.
    fn write(&self, sealed: &Sealed) -> Result<(), SecretError> {
        let folder = self.folder();
        let staged = folder.join(format!(".{}.{}", self.scope(), std::process::id()));
        let written = fs::File::create(&staged)
            .and_then(|mut file| file.write_all(sealed.text().as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&staged, &self.file))
            .and_then(|()| fs::File::open(folder)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&staged);
        }
        written.map_err(failed_to("write", &self.file))
    }

    /// Nobody else changes the file as long as this is held.
    fn alone(&self) -> Result<fs::File, SecretError> {
        let folder = self.folder();
        let held = fs::File::open(folder).and_then(|held| {
            flock(&held, FlockOperation::LockExclusive)?;
            Ok(held)
        });
        held.map_err(failed_to("lock", folder))
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }
}

fn check(value: &str) -> Result<(), SecretError> {
    match value {
        "" => Err(SecretError::Value("cannot be empty")),
        value if value.contains('\0') => Err(SecretError::Value("is a text without zero bytes")),
        value if value.len() > LONGEST => Err(SecretError::Value("is of 64 KiB at most")),
        _ => Ok(()),
    }
}

fn failed_to(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SecretError {
    let path = path.to_owned();
    move |source| SecretError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kept {
        folder: tempfile::TempDir,
    }

    impl Kept {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap() }
        }

        fn secrets(&self, file: &str) -> Secrets {
            Secrets::at(&self.folder.path().join(file), self.keys(None))
        }

        fn keys(&self, given: Option<&str>) -> Keys {
            Keys::of(|name| match name {
                "HOME" => Some(self.folder.path().join("home").into()),
                key::VARIABLE => given.map(Into::into),
                _ => None,
            })
        }
    }

    #[test]
    fn a_secret_is_told_to_who_has_the_key_and_to_nobody_else() {
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        assert!(matches!(secrets.reveal("pay"), Err(SecretError::Unknown { .. })));
        assert_eq!(secrets.names().unwrap(), [""; 0]);
        let key = secrets.set("pay", "hunter2\n한").unwrap().expect("the first one makes a key");
        assert_eq!(secrets.set("mail", "$HOME ${self.port}").unwrap(), None);
        assert_eq!(secrets.names().unwrap(), ["mail", "pay"]);
        assert_eq!(secrets.reveal("pay").unwrap(), "hunter2\n한");
        assert_eq!(secrets.reveal("mail").unwrap(), "$HOME ${self.port}");
        let text = fs::read_to_string(secrets.file()).unwrap();
        assert!(!text.contains("hunter2") && !format!("{secrets:?}").contains("hunter2"));

        fs::rename(&key, key.with_extension("away")).unwrap();
        let error = secrets.reveal("pay").unwrap_err().to_string();
        assert!(error.contains(&key.display().to_string()), "where to put it: {error}");
        assert!(matches!(secrets.set("pay", "x"), Err(SecretError::NoKey { .. })), "nothing is lost");
        let given = fs::read_to_string(key.with_extension("away")).unwrap();
        let elsewhere = Secrets::at(secrets.file(), kept.keys(Some(given.trim())));
        assert_eq!(elsewhere.reveal("pay").unwrap(), "hunter2\n한");
        let other = Secrets::at(secrets.file(), kept.keys(Some(&"0".repeat(64))));
        assert!(matches!(other.reveal("pay"), Err(SecretError::NoKey { .. })), "another key");
    }

    #[test]
    fn the_same_value_is_never_sealed_in_the_same_way() {
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        secrets.set("a", "same").unwrap();
        let first = fs::read_to_string(secrets.file()).unwrap();
        secrets.set("a", "same").unwrap();
        assert_ne!(first, fs::read_to_string(secrets.file()).unwrap());
    }

    #[test]
    fn what_was_moved_or_changed_is_not_opened() {
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        secrets.set("mine", "one").unwrap();
        secrets.set("yours", "two").unwrap();
        let text = fs::read_to_string(secrets.file()).unwrap();
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        // One secret in the place of another.
        let swapped = text.replace(&line("yours"), &line("mine").replace("mine", "yours"));
        fs::write(secrets.file(), swapped).unwrap();
        assert!(matches!(secrets.reveal("yours"), Err(SecretError::Damaged { .. })));
        assert_eq!(secrets.reveal("mine").unwrap(), "one");
        // The whole file in that of another environment.
        let other = kept.secrets("madang-secrets.production.toml");
        fs::write(other.file(), &text).unwrap();
        assert!(matches!(other.reveal("mine"), Err(SecretError::Damaged { .. })));
        // A digit.
        let sealed = line("mine");
        let digit = if sealed.ends_with("0\"") { "1\"" } else { "0\"" };
        fs::write(secrets.file(), text.replace(&sealed, &format!("{}{digit}", &sealed[..sealed.len() - 2])))
            .unwrap();
        assert!(matches!(secrets.reveal("mine"), Err(SecretError::Damaged { .. })));
    }

    #[test]
    fn a_new_key_opens_what_the_old_one_does_not_any_more() {
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        secrets.set("pay", "hunter2").unwrap();
        let old = secrets.key().unwrap().unwrap().to_string();
        assert!(secrets.rekey().unwrap().exists());
        assert_eq!(secrets.reveal("pay").unwrap(), "hunter2");
        assert_ne!(secrets.key().unwrap().unwrap().to_string(), old);
        let with_the_old = Secrets::at(secrets.file(), kept.keys(Some(&old)));
        // The file of the new key is in the same home, but what is given is meant.
        assert!(matches!(with_the_old.reveal("pay"), Err(SecretError::NoKey { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        let key = secrets.set("pay", "hunter2").unwrap().unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(secrets.reveal("pay"), Err(SecretError::OpenKey { .. })));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_changes_nothing() {
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        for (name, value) in
            [("", "x"), ("a.b", "x"), ("a", ""), ("a", "x\0"), ("a", &*"x".repeat(LONGEST + 1))]
        {
            assert!(secrets.set(name, value).is_err(), "{name}");
        }
        assert!(!secrets.file().exists() && !kept.folder.path().join("home").exists());
        assert!(!secrets.remove("a").unwrap());
        secrets.set("a", &"x".repeat(LONGEST)).unwrap();
        assert!(secrets.remove("a").unwrap());
        assert_eq!(secrets.names().unwrap(), [""; 0]);
        fs::write(secrets.file(), "version = 2\n").unwrap();
        assert!(matches!(secrets.names(), Err(SecretError::Format { .. })));
    }

    #[test]
    fn those_who_set_at_once_lose_nothing() {
        let kept = Kept::new();
        let secrets = kept.secrets("madang-secrets.toml");
        secrets.set("first", "x").unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let secrets = secrets.clone();
                scope.spawn(move || secrets.set(&format!("s{n}"), "x").unwrap());
            }
        });
        assert_eq!(secrets.names().unwrap().len(), 9);
    }
}
