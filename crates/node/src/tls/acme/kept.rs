//! What is kept of an authority: the account there, and the certificate with its key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use instant_acme::AccountCredentials;
use madang_gateway::Certificate;
use madang_model::Acme;
use serde::{Deserialize, Serialize};

use crate::tls::{CertificateError, keep::keep};

/// The files of one authority.
pub(super) struct Folder(PathBuf);

/// An account, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Account {
    /// The mail address that the authority was told.
    pub(super) contact: Option<String>,
    /// As whom the authority knows it elsewhere, by the id of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) external: Option<String>,
    /// Its key and its name.
    pub(super) credentials: AccountCredentials,
}

// === impl Account ===

impl Account {
    /// Whether it is good for what is asked for. One that is bound stays so, whatever is said no more.
    pub(super) fn is_bound_as_in(&self, acme: &Acme) -> bool {
        acme.external_account.as_ref().is_none_or(|wanted| self.external.as_ref() == Some(&wanted.id))
    }
}

// === impl Folder ===

impl Folder {
    /// An authority that is tried first, and another then, have nothing in common: what the first has signed nobody
    /// believes.
    pub(super) fn of(folder: &Path, acme: &Acme) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let url = acme.directory.to_string();
        let name: String = url.trim_start_matches("https://").chars().map(plain).collect();
        Self(folder.join(name))
    }

    /// The certificate; nothing if there is none that can be used.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let both = fs::read(self.path("certificate.pem")).ok()?;
        Certificate::read(&both, &both).ok()
    }

    /// Keeps a certificate with its key: in one file, so that they cannot be of two orders.
    pub(super) fn keep_certificate(&self, key: &str, chain: &str) -> Result<(), CertificateError> {
        keep(&self.path("certificate.pem"), &format!("{}\n{chain}", key.trim_end()))
    }

    /// The account; nothing if there is none.
    ///
    /// # Errors
    /// If there is one that cannot be read: to make another would be to lose it.
    pub(super) fn account(&self) -> Result<Option<Account>, CertificateError> {
        let path = self.path("account.json");
        let failed = |source| CertificateError::Keep { path: path.clone(), source };
        match fs::read(&path) {
            Ok(kept) => serde_json::from_slice(&kept).map(Some).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn keep_account(&self, account: &Account) -> Result<(), CertificateError> {
        let path = self.path("account.json");
        let text = serde_json::to_string(account);
        let text =
            text.map_err(|error| CertificateError::Keep { path: path.clone(), source: error.into() })?;
        keep(&path, &text)
    }

    /// The authority does not know it any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(self.path("account.json"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
