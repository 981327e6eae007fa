//! The key to a file of secrets: 32 random bytes in a file of the user's, outside of the code, or in a variable where
//! there is no user, as in CI.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{SecretError, failed_to};
use crate::hex;

/// The variable that may hold a key, as the file of one would. Services do not inherit it.
pub(super) const VARIABLE: &str = "MADANG_SECRETS_KEY";

const LENGTH: usize = 32;

/// A key. As text it is what its file holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; LENGTH]);

/// Where keys are.
#[derive(Debug, Clone)]
pub struct Keys {
    folder: Option<PathBuf>,
    given: Given,
}

/// The key in the variable.
#[derive(Debug, Clone)]
enum Given {
    Nothing,
    Key(Key),
    Broken,
}

// === impl Key ===

impl Key {
    /// By which it is named: it says nothing of the key.
    pub fn id(&self) -> String {
        let digest = Sha256::new().chain_update(b"madang key id").chain_update(self.0).finalize();
        hex::encode(&digest[..6])
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        hex::decode(text.trim())?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

// === impl Keys ===

impl Keys {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// Those of a process with these variables: the one in `MADANG_SECRETS_KEY`, and those in `madang/keys` of
    /// `XDG_CONFIG_HOME`, or of `.config` in `HOME`.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let configuration = set("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || Some(PathBuf::from(set("HOME")?).join(".config"));
        let folder = configuration.or_else(home).map(|folder| folder.join("madang/keys"));
        let given = match set(VARIABLE) {
            None => Given::Nothing,
            Some(text) => text.to_str().and_then(Key::parse).map_or(Given::Broken, Given::Key),
        };
        Self { folder, given }
    }

    /// The key of this id, to this file.
    pub(super) fn find(&self, id: &str, file: &Path) -> Result<Key, SecretError> {
        let missing = |way_out| SecretError::NoKey { id: id.to_owned(), file: file.to_owned(), way_out };
        match &self.given {
            Given::Broken => return Err(SecretError::BadKey { place: VARIABLE.to_owned() }),
            Given::Key(key) if key.id() == id => return Ok(key.clone()),
            Given::Key(key) => return Err(missing(format!("{VARIABLE} is the key {}", key.id()))),
            Given::Nothing => {}
        }
        let path = self.path(id)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let put = format!(
                    "whoever has it can print it with `madang secret key --show`; put that into {}, readable for you alone, or into {VARIABLE}",
                    path.display()
                );
                return Err(missing(put));
            }
            Err(source) => return Err(failed_to("read", &path)(source)),
        };
        let mode = fs::metadata(&path).map_err(failed_to("read", &path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::OpenKey { path });
        }
        let key = Key::parse(&text).filter(|key| key.id() == id);
        key.ok_or_else(|| SecretError::BadKey { place: path.display().to_string() })
    }

    /// A key for a new file: that of the variable, or a new one that is kept; with the file that it is kept in.
    pub(super) fn make(&self) -> Result<(Key, Option<PathBuf>), SecretError> {
        match &self.given {
            Given::Broken => Err(SecretError::BadKey { place: VARIABLE.to_owned() }),
            Given::Key(key) => Ok((key.clone(), None)),
            Given::Nothing => self.make_new().map(|(key, path)| (key, Some(path))),
        }
    }

    /// A new key that is kept, whatever is in the variable.
    pub(super) fn make_new(&self) -> Result<(Key, PathBuf), SecretError> {
        let key = Key(rand::random());
        let path = self.keep(&key)?;
        Ok((key, path))
    }

    /// Where the key of this id is kept.
    fn path(&self, id: &str) -> Result<PathBuf, SecretError> {
        let folder = self.folder.as_ref().ok_or(SecretError::NoPlace)?;
        Ok(folder.join(format!("{id}.key")))
    }

    fn keep(&self, key: &Key) -> Result<PathBuf, SecretError> {
        let path = self.path(&key.id())?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed_to("make", folder))?;
        let mut options = fs::OpenOptions::new();
        let written = options.write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(format!("{key}\n").as_bytes())?;
            file.sync_all()?;
            fs::File::open(folder)?.sync_all()
        });
        written.map_err(failed_to("write", &path))?;
        Ok(path)
    }
}
