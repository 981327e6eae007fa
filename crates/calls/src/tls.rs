//! TLS to services that run elsewhere: their certificate is verified, and their name told to them.

use std::{io, sync::Arc};

use madang_model::Url;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::Elsewhere;

/// Whom to believe about who somebody is. Cloning it is cheap.
#[derive(Clone)]
pub struct Trust {
    http1: TlsConnector,
    http2: TlsConnector,
    /// For what is not HTTP.
    other: TlsConnector,
}

/// Why there is nobody to believe.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There are none.
    #[error(
        "this machine has no certificates of authorities: install ca-certificates, or name a file in SSL_CERT_FILE"
    )]
    None,
    /// There are none.
    #[error(
        "there is no certificate of an authority in it: a block that begins with -----BEGIN CERTIFICATE-----"
    )]
    Empty,
    /// They cannot be used.
    #[error("the certificates of authorities cannot be used")]
    Unusable {
        /// Why.
        #[from]
        source: rustls::Error,
    },
}

/// TLS to the servers of one URL.
pub(crate) struct Tls {
    trust: Trust,
    name: ServerName<'static>,
}

/// Why a connection did not become one over TLS.
#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error("failed to verify the certificate of {name}: {why}")]
    Certificate { name: String, why: String },
    #[error("failed to agree with {name} on TLS: {source}")]
    Handshake { name: String, source: io::Error },
    #[error("{name} does not speak HTTP/2")]
    NoHttp2 { name: String },
}

// === impl Trust ===

impl Trust {
    /// The authorities that this machine knows, or those of the file that `SSL_CERT_FILE` names. Reads files.
    ///
    /// # Errors
    /// If there are none.
    pub fn of_this_machine() -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // Some that cannot be read leave the others; who is signed by one of them is told apart by name.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() { Err(TrustError::None) } else { Self::new(roots) }
    }

    /// These authorities, in PEM, and no others.
    ///
    /// # Errors
    /// If there are none, or one cannot be used.
    pub fn only(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| TrustError::Empty)?;
            roots.add(certificate)?;
        }
        if roots.is_empty() { Err(TrustError::Empty) } else { Self::new(roots) }
    }

    /// These authorities and no others.
    fn new(roots: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut http1 = config.with_root_certificates(roots).with_no_client_auth();
        let mut http2 = http1.clone();
        let other = TlsConnector::from(Arc::new(http1.clone()));
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let (http1, http2) = (TlsConnector::from(Arc::new(http1)), TlsConnector::from(Arc::new(http2)));
        Ok(Self { http1, http2, other })
    }

    /// Makes a connection one over TLS to the server of this name, which speaks something else than HTTP.
    ///
    /// # Errors
    /// If the server cannot prove that it is that, or does not speak TLS.
    pub async fn connect(&self, name: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        self.other.connect(server, stream).await.map_err(|error| failed(name.to_owned(), error))
    }
}

impl Elsewhere {
    /// The servers of a URL.
    ///
    /// # Errors
    /// If its host is no name that a certificate could have.
    pub fn trusted(url: Url, trust: &Trust) -> io::Result<Arc<Self>> {
        let tls = match url.is_tls() {
            true => {
                let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
                Some(Tls { trust: trust.clone(), name })
            }
            false => None,
        };
        Ok(Self::new(url, tls))
    }
}

// === impl Tls ===

impl Tls {
    /// Makes a connection one over TLS, for HTTP/2 or HTTP/1.1.
    pub(crate) async fn connect(&self, stream: TcpStream, http2: bool) -> io::Result<TlsStream<TcpStream>> {
        let connector = if http2 { &self.trust.http2 } else { &self.trust.http1 };
        let connected =
            connector.connect(self.name.clone(), stream).await.map_err(|error| failed(self.name(), error))?;
        if http2 && connected.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other(TlsError::NoHttp2 { name: self.name() }));
        }
        Ok(connected)
    }

    fn name(&self) -> String {
        self.name.to_str().into_owned()
    }
}

fn failed(name: String, error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let error = match cause {
        Some(rustls::Error::InvalidCertificate(why)) => TlsError::Certificate { name, why: in_words(why) },
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            TlsError::NoHttp2 { name }
        }
        _ => TlsError::Handshake { name, source: error },
    };
    io::Error::other(error)
}

fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody whom this machine trusts has signed it (SSL_CERT_FILE can name who else is to be trusted)"
                .into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".into()
        }
        CertificateError::Revoked => "it is revoked".into(),
        why => format!("{why:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use http::{Request, Response};
    use hyper::service::service_fn;
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto,
    };
    use madang_model::{InstanceId, Protocol, ServiceName};
    use madang_wire::{
        Hop,
        service::{Endpoint, Endpoints, ServiceEndpoints},
    };
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{Body, CallError, Client, ClientConfig, Directory, Origin, Policy};

    /// So much time to connect is never needed.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// An authority, and a server whose certificate it has signed.
    struct World {
        trust: Trust,
        port: u16,
    }

    impl World {
        /// A server with a certificate for this name, good until this year, that speaks these protocols.
        async fn new(name: &str, until: i32, alpn: &[&str]) -> Self {
            let mut authority = CertificateParams::new([]).unwrap();
            authority.distinguished_name.push(rcgen::DnType::CommonName, format!("of {name} until {until}"));
            authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
            let key = KeyPair::generate().unwrap();
            let mut server = CertificateParams::new([name.to_owned()]).unwrap();
            server.not_before = date_time_ymd(2020, 1, 1);
            server.not_after = date_time_ymd(until, 1, 1);
            let certificate = server.signed_by(&key, &authority).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();

            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            let config = config.unwrap().with_no_client_auth();
            let mut config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
            config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config))));
            Self { trust: Trust::new(roots).unwrap(), port }
        }

        /// Asks once.
        async fn get(&self, host: &str, protocol: Protocol) -> Result<String, CallError> {
            self.get_in(1, host, protocol).await
        }

        async fn get_in(&self, attempts: u32, host: &str, protocol: Protocol) -> Result<String, CallError> {
            let url: Url = format!("https://{host}:{}", self.port).parse().unwrap();
            let directory = Directory::default();
            let mail: ServiceName = "mail".parse().unwrap();
            directory.elsewhere(&mail, Some(Elsewhere::trusted(url, &self.trust).unwrap()));
            let instance = InstanceId("mail-1".into());
            let address = ([127, 0, 0, 1], self.port).into();
            let instances = vec![Endpoint { instance, address, protocol, release: None }];
            let endpoints = ServiceEndpoints { instances, ..ServiceEndpoints::default() };
            directory.apply(&Endpoints {
                version: 1,
                services: [(mail.clone(), endpoints)].into(),
                ..Endpoints::default()
            });
            let policy =
                Policy { attempts, connect_timeout: PATIENCE, timeout: 2 * PATIENCE, ..Policy::default() };
            let client = Client::new(ClientConfig::new(Hop::Sdk));
            let lane = directory.lane(Origin::Listener, &mail);
            let request = Request::get("/a?b=c").header("host", "shop.example").body(Body::empty()).unwrap();
            let answer = client.call(&lane, &Arc::new(policy), request).await?;
            let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
            Ok(String::from_utf8_lossy(&body).into_owned())
        }

        async fn refusal(&self, host: &str, protocol: Protocol) -> String {
            self.refusal_in(1, host, protocol).await
        }

        async fn refusal_in(&self, attempts: u32, host: &str, protocol: Protocol) -> String {
            let error = self.get_in(attempts, host, protocol).await.unwrap_err();
            assert_eq!(error.code(), madang_wire::Code::CONNECT);
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        }
    }

    /// Answers with what it was asked: the name by TLS, the protocol, and the host and path by HTTP.
    async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                    let text = format!(
                        "{name} {:?} {} {}",
                        request.version(),
                        host.unwrap_or_default(),
                        request.uri()
                    );
                    async { Ok::<_, Infallible>(Response::new(Body::from(text))) }
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    }

    #[tokio::test]
    async fn requests_go_over_tls_to_the_server_that_is_named() {
        let world = World::new("mail.example", 2100, &["h2", "http/1.1"]).await;
        let port = world.port;
        assert_eq!(
            world.get("mail.example", Protocol::Http).await.unwrap(),
            format!("mail.example HTTP/1.1 mail.example:{port} /a?b=c")
        );
        assert_eq!(
            world.get("mail.example", Protocol::Grpc).await.unwrap(),
            format!("mail.example HTTP/2.0  https://mail.example:{port}/a?b=c")
        );
        let by_address = World::new("127.0.0.1", 2100, &[]).await;
        assert!(by_address.get("127.0.0.1", Protocol::Http).await.is_ok(), "a certificate for an address");
    }

    #[tokio::test]
    async fn a_server_that_cannot_prove_who_it_is_gets_no_request() {
        let world = World::new("mail.example", 2100, &[]).await;
        let said = world.refusal("other.example", Protocol::Http).await;
        assert!(
            said.ends_with("failed to verify the certificate of other.example: it is for another name"),
            "{said}"
        );
        let expired = World::new("mail.example", 2021, &[]).await;
        let said = expired.refusal("mail.example", Protocol::Http).await;
        assert!(said.ends_with("failed to verify the certificate of mail.example: it has expired"), "{said}");
        let stranger = World { trust: expired.trust, port: world.port };
        let said = stranger.refusal("mail.example", Protocol::Http).await;
        assert!(said.contains("nobody whom this machine trusts has signed it"), "{said}");
    }

    #[tokio::test]
    async fn what_is_not_http_goes_over_tls_to_the_server_that_is_named() {
        let world = World::new("limits.example", 2100, &["redis"]).await;
        let connect = async |name: &str| {
            let plain = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
            world.trust.connect(name, plain).await
        };
        assert!(connect("limits.example").await.is_ok());
        let refused = connect("other.example").await.unwrap_err().to_string();
        assert_eq!(refused, "failed to verify the certificate of other.example: it is for another name");
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_what_is_wanted_is_named() {
        for alpn in [&["http/1.1"][..], &[]] {
            let world = World::new("mail.example", 2100, alpn).await;
            let said = world.refusal("mail.example", Protocol::H2c).await;
            assert!(said.ends_with("mail.example does not speak HTTP/2"), "{said}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = World::new("mail.example", 2100, &[]).await;
        let plain = World { trust: world.trust, port: listener.local_addr().unwrap().port() };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 no\r\n\r\n").await;
            }
        });
        let said = plain.refusal("mail.example", Protocol::Http).await;
        assert!(said.contains("failed to agree with mail.example on TLS: "), "{said}");
    }

    #[tokio::test]
    async fn a_reason_outlives_an_attempt_that_the_time_was_too_short_for() {
        let world = World::new("mail.example", 2100, &[]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = World { trust: world.trust, port: listener.local_addr().unwrap().port() };
        tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut first, b"HTTP/1.1 400 no\r\n\r\n").await.unwrap();
            drop(first);
            let _second = listener.accept().await.unwrap();
            tokio::time::pause();
            tokio::time::advance(PATIENCE).await;
            std::future::pending::<()>().await;
        });
        let said = world.refusal_in(3, "mail.example", Protocol::Http).await;
        assert!(said.contains("failed to agree with mail.example on TLS: "), "{said}");
    }
}
