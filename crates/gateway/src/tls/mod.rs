//! TLS at the gateway's own listener.
//!
//! Map: [`Tls`] is what is shown and asked there, replaced whole while connections go on. A [`Certificate`] is shown to
//! those who ask for one of its `names`, and each is read as far as `x509` needs it; `own` is how
//! a node speaks to itself; a `peer` is a client that has shown
//! one of [`Authorities`], and none of those that are [`Revoked`]. A [`Proof`] is for an authority on the network that looks
//! whose a host is; `reach` is which hosts a connection is good for.

mod certificate;
mod names;
mod own;
pub(crate) mod peer;
pub(crate) mod proof;
pub(crate) mod reach;
#[cfg(test)]
pub(crate) mod testing;
mod x509;

use std::{fmt, io, sync::Arc};

use arc_swap::ArcSwap;
use madang_model::TlsVersion;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, ServerName},
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::{
    names::Names,
    proof::{ACME, Proofs},
    reach::Reach,
};

pub use certificate::{Authorities, Certificate, Revoked, Unusable};
pub use proof::{Proof, Proving};

/// What clients may speak, in the order in which it is preferred (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// HTTP/2, as it is agreed on by TLS.
pub(crate) const HTTP2: &[u8] = b"h2";

/// What a listener shows to clients, and asks of them. Cloning it is cheap and gives the same one.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    shown: ArcSwap<Shown>,
    /// Kept over changes, and one for all workers: a session goes on at whichever the client comes to.
    tickets: Arc<dyn ProducesTickets>,
    proofs: Proofs,
}

/// What is shown and asked, ready for connections.
pub(crate) struct Shown {
    pub(crate) config: Arc<ServerConfig>,
    names: Arc<Names>,
    certificates: Vec<CertificateDer<'static>>,
}

/// What is shown and asked.
pub struct Credentials {
    /// What is shown, the first to those who ask for none of their names; empty only while an authority is asked for
    /// one, when nobody else is let in.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Which certificates are taken of clients.
    pub clients: Option<Clients>,
    /// Whether an authority on the network may look whose a host is.
    pub acme: bool,
}

/// Which certificates are taken of clients.
pub struct Clients {
    /// Who has signed them.
    pub authorities: Authorities,
    /// Whether each client must have one.
    pub required: bool,
    /// Those that are not taken although they are signed. With it, the authorities without a list are not believed.
    pub revoked: Option<Revoked>,
}

// === impl Tls ===

impl Tls {
    /// Shows and asks this.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn new(credentials: Credentials) -> Result<Self, Unusable> {
        let tickets = rustls::crypto::ring::Ticketer::new()?;
        let proofs = Proofs::default();
        let shown = ArcSwap::from_pointee(Shown::new(credentials, &tickets, &proofs)?);
        Ok(Self(Arc::new(Shared { shown, tickets, proofs })))
    }

    /// Shows and asks something else from now on; connections that are open go on.
    ///
    /// # Errors
    /// If it cannot be used; then nothing has changed.
    pub fn replace(&self, credentials: Credentials) -> Result<(), Unusable> {
        let shown = Shown::new(credentials, &self.0.tickets, &self.0.proofs)?;
        self.0.shown.store(Arc::new(shown));
        Ok(())
    }

    /// Shows these to authorities that look whose a host is, as long as what is returned lives.
    ///
    /// # Errors
    /// If a key cannot be used.
    pub fn prove(&self, proofs: Vec<Proof>) -> Result<Proving, Unusable> {
        self.0.proofs.show(proofs)
    }

    /// Makes a connection to this very gateway one over TLS, for HTTP/1.1; nobody else is believed.
    ///
    /// # Errors
    /// If somebody else is there, or the gateway asks for the certificate of a client.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = own::believing(self.0.shown.load().certificates.clone()).map_err(io::Error::other)?;
        let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    pub(crate) fn shown(&self) -> Arc<Shown> {
        self.0.shown.load_full()
    }

    pub(crate) fn proofs(&self) -> &Proofs {
        &self.0.proofs
    }
}

/// Whether a client speaks TLS, by its first byte, which stays where it is: a handshake begins with 22 (RFC 8446, section
/// 5.1), a request of HTTP with a letter. Whatever else it is, TLS refuses it.
pub(crate) async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let came = stream.peek(&mut first).await?;
    Ok(came == 0 || !first[0].is_ascii_uppercase())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Shown {
    fn new(
        credentials: Credentials,
        tickets: &Arc<dyn ProducesTickets>,
        proofs: &Proofs,
    ) -> Result<Self, Unusable> {
        let first = |certificate: &Certificate| certificate.key.cert.first().cloned();
        let certificates = credentials.certificates.iter().filter_map(first).collect();
        let proofs = credentials.acme.then(|| proofs.clone());
        let names = Arc::new(Names::new(&credentials.certificates, proofs)?);
        Ok(Self { config: Arc::new(config(credentials, names.clone(), tickets)?), names, certificates })
    }

    /// Which hosts a connection is good for, if that is not all of them.
    pub(crate) fn reach(&self, asked: Option<&str>) -> Option<Reach> {
        Reach::of(&self.names, asked)
    }
}

fn config(
    credentials: Credentials,
    names: Arc<Names>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, Unusable> {
    let Credentials { min_version, clients, acme, .. } = credentials;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] = match min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let known = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(Clients { authorities, required, revoked }) => {
            let mut verifier = WebPkiClientVerifier::builder_with_provider(authorities.roots(), provider);
            if let Some(revoked) = revoked {
                verifier = verifier.with_crls(revoked.lists()).only_check_end_entity_revocation();
            }
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            let verifier: Arc<dyn ClientCertVerifier> =
                verifier.build().map_err(|error| Unusable::Authorities(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(names);
    let proof = acme.then_some(ACME);
    config.alpn_protocols = PROTOCOLS.into_iter().chain(proof).map(<[u8]>::to_vec).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if known {
        // A session that goes on would not ask again whether the client's certificate is still good.
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = tickets.clone();
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{testing::Authority, *};

    #[test]
    fn whoever_shows_nothing_is_not_served_and_nothing_changes() {
        let nothing = || Credentials {
            certificates: Vec::new(),
            min_version: TlsVersion::V1_2,
            clients: None,
            acme: false,
        };
        assert!(matches!(Tls::new(nothing()), Err(Unusable::NoCertificate)));
        let shop = Authority::new("a").certificate(&["shop.example"]);
        let tls = Tls::new(Credentials { certificates: vec![shop], ..nothing() }).unwrap();
        let before = tls.shown();
        assert!(tls.replace(nothing()).is_err());
        assert!(Arc::ptr_eq(&before, &tls.shown()));
    }
}
