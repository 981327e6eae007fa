//! Whether a host is whose it should be: looked for where the gateway listens, as an authority does.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ring::digest::{SHA256, digest};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::csr::find;

/// How what is proven begins in a certificate: the extension's name, that it is critical, and the length of a digest
/// (RFC 8737, section 3).
const PROVEN: &[u8] =
    &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20];

/// RFC 8555, section 8.3.
pub(super) async fn in_plain(
    at: Option<SocketAddr>,
    host: &str,
    token: &str,
    expected: &str,
) -> Result<(), String> {
    let answer = async {
        let mut stream = TcpStream::connect(at.ok_or(std::io::ErrorKind::AddrNotAvailable)?).await?;
        let request = format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = answer.await.map_err(|error| format!("no answer: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if head.starts_with("HTTP/1.1 200 ") && body == expected {
        return Ok(());
    }
    Err(format!("another answer: {}", head.lines().next().unwrap_or_default()))
}

/// RFC 8737, section 3.
pub(super) async fn over_tls(at: Option<SocketAddr>, host: &str, expected: &str) -> Result<(), String> {
    let (certificate, agreed) = shown(at, host, &[b"acme-tls/1"]).await?;
    if agreed.as_deref() != Some(b"acme-tls/1") {
        return Err("the protocol is not agreed on".to_owned());
    }
    let digest = digest(&SHA256, expected.as_bytes());
    let proven = [PROVEN, digest.as_ref()].concat();
    match find(&certificate, &proven).and(find(&certificate, host.as_bytes())) {
        Some(_) => Ok(()),
        None => Err("the certificate proves something else".to_owned()),
    }
}

/// The certificate that is shown to who asks for a host, and the protocol that is agreed on.
pub(in super::super) async fn shown(
    at: Option<SocketAddr>,
    host: &str,
    protocols: &[&[u8]],
) -> Result<(CertificateDer<'static>, Option<Vec<u8>>), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let seen = Arc::new(Seen { certificate: Mutex::default(), provider: provider.clone() });
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.dangerous().with_custom_certificate_verifier(seen.clone()).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connected = async {
        let stream = TcpStream::connect(at.ok_or(std::io::ErrorKind::AddrNotAvailable)?).await?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let stream = connected.await.map_err(|error| format!("no handshake: {error}"))?;
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let certificate = seen.certificate.lock().unwrap().take();
    Ok((certificate.expect("one is shown in each handshake"), agreed))
}

/// Believes everybody, and notes who it was.
#[derive(Debug)]
struct Seen {
    certificate: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.certificate.lock().unwrap() = Some(shown.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    // Who signs with the certificate's key is not asked: a proof may have what only an authority understands.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
