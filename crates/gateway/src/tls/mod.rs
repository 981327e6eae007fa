//! TLS at the gateway's own listener.
//!
//! Map: [`Tls`] is what is shown and asked there, replaced whole while connections go on. A [`Certificate`] is shown to
//! those who ask for one of its `names`, and each is read as far as `x509` needs it; a `peer` is a client that has shown
//! one of [`Authorities`].

mod certificate;
mod names;
pub(crate) mod peer;
#[cfg(test)]
pub(crate) mod testing;
mod x509;

use std::{fmt, io, sync::Arc};

use arc_swap::ArcSwap;
use madang_model::TlsVersion;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;

pub use certificate::{Authorities, Certificate, Unusable};

/// What clients may speak, in the order in which it is preferred (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// HTTP/2, as it is agreed on by TLS.
pub(crate) const HTTP2: &[u8] = b"h2";

/// What a listener shows to clients, and asks of them. Cloning it is cheap and gives the same one.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    config: ArcSwap<ServerConfig>,
    /// Kept over changes, and one for all workers: a session goes on at whichever the client comes to.
    tickets: Arc<dyn ProducesTickets>,
}

/// What is shown and asked.
pub struct Credentials {
    /// What is shown, the first to those who ask for none of their names; never empty.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whose certificates are taken of clients, and whether each must have one.
    pub clients: Option<(Authorities, bool)>,
}

// === impl Tls ===

impl Tls {
    /// Shows and asks this.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn new(credentials: Credentials) -> Result<Self, Unusable> {
        let tickets = rustls::crypto::ring::Ticketer::new()?;
        let config = ArcSwap::from_pointee(config(credentials, &tickets)?);
        Ok(Self(Arc::new(Shared { config, tickets })))
    }

    /// Shows and asks something else from now on; connections that are open go on.
    ///
    /// # Errors
    /// If it cannot be used; then nothing has changed.
    pub fn replace(&self, credentials: Credentials) -> Result<(), Unusable> {
        let config = config(credentials, &self.0.tickets)?;
        self.0.config.store(Arc::new(config));
        Ok(())
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.config.load_full()
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

fn config(credentials: Credentials, tickets: &Arc<dyn ProducesTickets>) -> Result<ServerConfig, Unusable> {
    let Credentials { certificates, min_version, clients } = credentials;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] = match min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let known = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((authorities, required)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities.roots(), provider);
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            let verifier: Arc<dyn ClientCertVerifier> =
                verifier.build().map_err(|error| Unusable::Authorities(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(names::Names::new(&certificates)?));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
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
        let nothing =
            || Credentials { certificates: Vec::new(), min_version: TlsVersion::V1_2, clients: None };
        assert!(matches!(Tls::new(nothing()), Err(Unusable::NoCertificate)));
        let shop = Authority::new("a").certificate(&["shop.example"]);
        let tls = Tls::new(Credentials { certificates: vec![shop], ..nothing() }).unwrap();
        let before = tls.config();
        assert!(tls.replace(nothing()).is_err());
        assert!(Arc::ptr_eq(&before, &tls.config()));
    }
}
