//! A certificate for this machine, by an authority that is made here and nowhere else.
//!
//! Whoever believes the authority believes it about this machine only: names below `localhost` and addresses of loopback
//! (RFC 5280, section 4.2.1.10). Its key is the owner's to read.

use std::{
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use madang_gateway::{Authorities, Certificate};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};

use super::{CertificateError, keep::keep};

/// How long an authority is good: whoever has told a browser to believe it need not do so again.
const AUTHORITY: Duration = Duration::from_secs(10 * 365 * DAY);

/// How long a certificate is good.
const LEAF: Duration = Duration::from_secs(30 * DAY);

/// How long before now it begins, because clocks differ.
const SKEW: Duration = Duration::from_secs(60 * 60);

const DAY: u64 = 24 * 60 * 60;

/// The hosts that it is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How a certificate begins in PEM.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The folder in which the authority and its certificate are kept.
pub(super) struct Development {
    folder: PathBuf,
}

// === impl Development ===

impl Development {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file that clients are told to believe.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate that is kept, or a new one if half of its time is over.
    pub(super) fn certificate(&self, now: u64) -> Result<Certificate, CertificateError> {
        let (chain, key) = (self.folder.join("localhost.pem"), self.folder.join("localhost.key"));
        let kept = || Certificate::read(&fs::read(&chain).ok()?, &fs::read(&key).ok()?).ok();
        // Without its authority nobody could be told to believe it.
        if let Some(kept) = kept().filter(|kept| now < half_life(kept) && self.authority().exists()) {
            return Ok(kept);
        }
        let issuer = self.issuer(now)?;
        let (made, made_key) =
            leaf(&issuer, now).map_err(|error| CertificateError::Make(error.to_string()))?;
        // The chain last: it is what is looked at first.
        keep(&key, &made_key)?;
        keep(&chain, &made)?;
        Ok(Certificate::read(made.as_bytes(), made_key.as_bytes())?)
    }

    /// The authority that is kept, or a new one if it could not sign for as long as is wanted.
    fn issuer(&self, now: u64) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::Make(error.to_string());
        // The key and the certificate in one file, so that they cannot be of two authorities.
        let own = self.folder.join("ca.key");
        let kept = || {
            let both = fs::read_to_string(&own).ok()?;
            let certificate = both[both.find(CERTIFICATE)?..].to_owned();
            let lasts = now + LEAF.as_secs() < Authorities::read(certificate.as_bytes()).ok()?.ends();
            Some((KeyPair::from_pem(&both).ok()?, certificate)).filter(|_| lasts)
        };
        let params = authority(now).map_err(failed)?;
        let (key, certificate) = match kept() {
            Some(kept) => kept,
            None => {
                let key = KeyPair::generate().map_err(failed)?;
                let certificate = params.self_signed(&key).map_err(failed)?.pem();
                keep(&own, &(key.serialize_pem() + &certificate))?;
                (key, certificate)
            }
        };
        keep(&self.authority(), &certificate)?;
        Ok(Issuer::new(params, key))
    }
}

/// When half of a certificate's time is over, in seconds since 1970.
pub(super) fn half_life(certificate: &Certificate) -> u64 {
    certificate.begins() + (certificate.ends() - certificate.begins()) / 2
}

fn authority(now: u64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Madang, for development on this machine");
    params.distinguished_name.push(DnType::CommonName, "Madang development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let v6 = CidrSubnet::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0xff; 16]);
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::LOCALHOST.octets(), 8)),
            GeneralSubtree::IpAddress(v6),
        ],
        excluded_subtrees: Vec::new(),
    });
    valid(&mut params, now, AUTHORITY);
    Ok(params)
}

fn leaf(issuer: &Issuer<'static, KeyPair>, now: u64) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, LEAF);
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

fn valid(params: &mut CertificateParams, now: u64, time: Duration) {
    let now = UNIX_EPOCH + Duration::from_secs(now);
    params.not_before = (now - SKEW).into();
    params.not_after = (now + time).into();
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_kept_until_half_its_time_is_over_and_its_authority_longer() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("tls");
        let development = Development::new(at.clone());
        let first = development.certificate(NOW).unwrap();
        assert_eq!(first.names(), ["localhost"]);
        let authority = fs::read(development.authority()).unwrap();
        let shown = || fs::read(at.join("localhost.pem")).unwrap();
        let before = shown();
        let half = half_life(&first);
        assert!((NOW + 14 * DAY..NOW + 16 * DAY).contains(&half), "{half}");
        Development::new(at.clone()).certificate(half - 1).unwrap();
        assert_eq!(shown(), before, "over a restart too");
        let second = development.certificate(half).unwrap();
        assert!(shown() != before && second.ends() > first.ends());
        assert_eq!(fs::read(development.authority()).unwrap(), authority);
        let end = NOW + AUTHORITY.as_secs();
        development.certificate(end - DAY).unwrap();
        assert_ne!(
            fs::read(development.authority()).unwrap(),
            authority,
            "it would end before what it signs"
        );
    }

    #[test]
    fn what_is_secret_is_its_owners_and_what_is_damaged_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("tls");
        let development = Development::new(at.clone());
        development.certificate(NOW).unwrap();
        assert_eq!(mode(&at), 0o700);
        for file in ["ca.key", "localhost.key"] {
            assert_eq!(mode(&at.join(file)), 0o600, "{file}");
        }
        for file in ["ca.key", "ca.pem", "localhost.key", "localhost.pem"] {
            fs::write(at.join(file), "damaged").unwrap();
            if file == "ca.pem" {
                fs::remove_file(at.join(file)).unwrap();
            }
            development.certificate(NOW).unwrap();
            assert!(Authorities::read(&fs::read(development.authority()).unwrap()).is_ok(), "{file}");
        }
    }
}
