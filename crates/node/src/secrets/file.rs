//! What stands in a file of secrets: the id of the key, and each secret by its name, sealed by itself, so that a change
//! of one is a change of one line.
//!
//! Sealed is ChaCha20-Poly1305 (RFC 8439) under a random nonce of 96 bits, which stands before it; the name and the
//! file are authenticated with it. All as hexadecimal digits.

use std::collections::BTreeMap;

use madang_model::manifest::SEALED;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::Deserialize;

use super::key::Key;
use crate::hex;

/// The one form that there is.
const VERSION: u8 = 1;

const HEAD: &str = "\
# The secrets of this system, sealed: this file may be kept with its code. The key is not in it.
# `madang secret set NAME`, `madang secret list` and `madang secret rm NAME` read and write it.
";

/// A file of secrets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    version: u8,
    key: String,
    #[serde(default)]
    sealed: BTreeMap<String, String>,
}

// === impl Sealed ===

impl Sealed {
    /// Without a secret yet.
    pub(super) fn new(key: &Key) -> Self {
        Self { version: VERSION, key: key.id(), sealed: BTreeMap::new() }
    }

    /// Reads a file, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let read: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        match read.version {
            VERSION => Ok(read),
            version => Err(format!("it is of version {version}, and this madang reads version {VERSION}")),
        }
    }

    /// The whole file.
    pub(super) fn text(&self) -> String {
        let lines = self.sealed.iter().map(|(name, sealed)| format!("{name} = \"{sealed}\"\n"));
        let lines: String = lines.collect();
        format!("{HEAD}version = {VERSION}\nkey = \"{}\"\n\n[{SEALED}]\n{lines}", self.key)
    }

    /// The id of the key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.sealed.keys().cloned().collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.sealed.contains_key(name)
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.sealed.remove(name).is_some()
    }

    /// Seals a secret, in the place of the one of that name.
    pub(super) fn seal(&mut self, key: &Key, scope: &str, name: &str, value: &str) {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = value.as_bytes().to_vec();
        cipher(key)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to(scope, name), &mut bytes)
            .expect("a secret is shorter than the cipher allows");
        self.sealed.insert(name.to_owned(), hex::encode(&nonce) + &hex::encode(&bytes));
    }

    /// Opens a secret; none if it is not there, or not as it was sealed with this key.
    pub(super) fn open(&self, key: &Key, scope: &str, name: &str) -> Option<String> {
        let bytes = hex::decode(self.sealed.get(name)?)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = cipher(key).open_in_place(nonce, bound_to(scope, name), &mut sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

fn cipher(key: &Key) -> LessSafeKey {
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, key.bytes()).expect("a key is as long as the cipher's");
    LessSafeKey::new(unbound)
}

/// Neither a file's nor a secret's name has a zero byte.
fn bound_to(scope: &str, name: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("madang\0secret\0{VERSION}\0{scope}\0{name}").into_bytes())
}
