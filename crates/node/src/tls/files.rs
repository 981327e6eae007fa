//! Certificates, keys and authorities in files.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use madang_gateway::{Authorities, Certificate, Clients, Revoked, Unusable};
use madang_model::{CertificateFiles, ClientCertificates, GatewayTls};

/// The largest file that is read, in bytes: a bundle of all authorities of the world has 200 kB.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("failed to read {path}, which [gateway.tls] names")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path}, which [gateway.tls] names, cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Unusable,
    },
    /// What was read does not fit together.
    #[error("what [gateway.tls] says cannot be used")]
    Unusable(#[from] Unusable),
    /// What was read again is worse than what is in force.
    #[error("the new certificate for {name} has ended already, on {at}")]
    Ended {
        /// A host that it is for.
        name: String,
        /// When.
        at: String,
    },
    /// What is made here cannot be kept.
    #[error("failed to keep {path}, which holds what this node has for [gateway.tls]")]
    Keep {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be made.
    #[error("failed to make a certificate for development: {0}")]
    Make(String),
}

/// What tells files from what they were: another file by the same name, or another length or time of change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<(u64, u64, i64, i64)>>);

impl Stamps {
    /// Those of all files that are named.
    pub(super) fn of(said: &GatewayTls) -> Self {
        let pairs = said.certificates.iter().flat_map(|files| [&files.certificate, &files.key]);
        let clients = said.clients.iter();
        let clients = clients.flat_map(|clients| [Some(&clients.authorities), clients.revoked.as_ref()]);
        let all = pairs.chain(clients.flatten());
        let stamp = |path: &PathBuf| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
        };
        Self(all.map(stamp).collect())
    }
}

pub(super) fn certificate(files: &CertificateFiles) -> Result<Certificate, CertificateError> {
    let (chain, key) = (read(&files.certificate)?, read(&files.key)?);
    Certificate::read(&chain, &key).map_err(|source| {
        let path = if matches!(source, Unusable::NoKey) { &files.key } else { &files.certificate };
        CertificateError::File { path: path.clone(), source }
    })
}

/// Which certificates of clients are taken.
pub(super) fn clients(said: &ClientCertificates) -> Result<Clients, CertificateError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        |source| CertificateError::File { path, source }
    };
    let authorities = Authorities::read(&read(&said.authorities)?).map_err(unusable(&said.authorities))?;
    let revoked = match &said.revoked {
        Some(path) => Some(Revoked::read(&read(path)?).map_err(unusable(path))?),
        None => None,
    };
    Ok(Clients { authorities, required: said.required, revoked })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > LARGEST {
        return Err(failed(io::Error::other(format!("it has {length} bytes, which no certificate has"))));
    }
    fs::read(path).map_err(failed)
}
