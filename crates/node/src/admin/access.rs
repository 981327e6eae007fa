//! Who may speak to the admin API over TCP: whoever has the token of this node, or a session that the token began.
//!
//! The token is new with each start of the node. A session is a signed note of its end, for which nothing is kept, so
//! that a browser stays logged in when the node is started anew.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use madang_dashboard::Session;
use madang_store::Store;
use sha2::Sha256;

use crate::{
    hex,
    node::now,
    tokens::{self, KEY},
};

/// How long a session lasts.
pub(super) const LASTS: Duration = Duration::from_secs(7 * 86_400);

/// Makes and checks tokens and sessions.
pub(crate) struct Access {
    key: [u8; KEY],
    token: String,
    file: PathBuf,
    cookie: String,
}

// === impl Access ===

impl Access {
    /// With the key kept in the state, which is half of `fresh` the first time. The other half is the token of this
    /// start, which is left in a file beside the node's socket.
    pub(crate) async fn open(
        state: &Store,
        fresh: [u8; KEY],
        secret: [u8; KEY],
        socket: &Path,
    ) -> Result<Self, madang_store::Error> {
        let key = tokens::kept_key(state, "admin", fresh).await?;
        let name = socket.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let cookie = format!("madang-{name}");
        Ok(Self { key, token: hex::encode(&secret[..32]), file: socket.with_extension("token"), cookie })
    }

    /// Writes the token where its owner finds it, and nobody else may read it.
    pub(crate) fn write_file(&self) -> io::Result<()> {
        let _ = fs::remove_file(&self.file);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file)?;
        file.write_all(self.token.as_bytes())
    }

    /// The token is good for nothing any more.
    pub(crate) fn remove_file(&self) {
        let _ = fs::remove_file(&self.file);
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The name of the cookie. Browsers send cookies to every port of a host, so that each system has its own.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether this is the token. Takes the same time wherever a wrong one differs.
    pub(super) fn is_token(&self, given: &str) -> bool {
        let expected = hex::encode(&self.mac("token", &self.token).finalize().into_bytes());
        tokens::proves(self.mac("token", given), &expected)
    }

    /// A new session, as the cookie's value.
    pub(super) fn begin(&self) -> io::Result<String> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let said = format!("{}.{}", now() / 1000 + LASTS.as_secs(), hex::encode(&id));
        let signed = self.mac("session", &said).finalize().into_bytes();
        Ok(format!("{said}.{}", hex::encode(&signed)))
    }

    /// The session of a cookie's value, if it is one and has not ended.
    pub(super) fn session(&self, cookie: &str) -> Option<Session> {
        let (said, signed) = cookie.rsplit_once('.')?;
        if !tokens::proves(self.mac("session", said), signed) {
            return None;
        }
        let (ends, id) = said.split_once('.')?;
        if ends.parse::<u64>().ok()? <= now() / 1000 {
            return None;
        }
        let csrf = hex::encode(&self.mac("csrf", id).finalize().into_bytes());
        Some(Session { who: format!("session {}", &id[..id.len().min(6)]), csrf })
    }

    fn mac(&self, kind: &str, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(kind.as_bytes());
        mac.update(b"\0");
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(in super::super) fn access(folder: &Path) -> Access {
        Access {
            key: [7; KEY],
            token: "secret".to_owned(),
            file: folder.join("shop.token"),
            cookie: "madang-shop".to_owned(),
        }
    }

    #[test]
    fn a_session_is_what_was_signed_until_its_end() {
        let access = access(Path::new("/"));
        let cookie = access.begin().unwrap();
        let session = access.session(&cookie).unwrap();
        assert!(session.who.starts_with("session "));
        assert_ne!(access.session(&access.begin().unwrap()).unwrap().csrf, session.csrf, "each has its own");

        let (ends, rest) = cookie.split_once('.').unwrap();
        let later = format!("{}.{rest}", ends.parse::<u64>().unwrap() + 1);
        for forged in [later.as_str(), "", ".", "1.2.3", rest, &cookie[..cookie.len() - 2]] {
            assert_eq!(access.session(forged), None, "{forged}");
        }
        let over = format!("{}.0011", now() / 1000);
        let over = format!("{over}.{}", hex::encode(&access.mac("session", &over).finalize().into_bytes()));
        assert_eq!(access.session(&over), None, "it is over");
        assert_eq!(Access { key: [8; KEY], ..tests::access(Path::new("/")) }.session(&cookie), None);
    }

    #[test]
    fn the_token_is_one_text_in_a_file_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path());
        assert!(access.is_token("secret"));
        assert!(["", "secre", "secrets", "Secret"].iter().all(|wrong| !access.is_token(wrong)));
        access.write_file().unwrap();
        access.write_file().unwrap();
        assert_eq!(fs::read_to_string(access.file()).unwrap(), "secret");
        assert_eq!(fs::metadata(access.file()).unwrap().permissions().mode() & 0o777, 0o600);
        access.remove_file();
        assert!(!access.file().exists());
    }
}
