//! TLS at the gateway: what is shown, asked, changed and refused.

mod clients;
mod ending;
mod hosts;
mod serving;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_gateway::{Authorities, Certificate, Config, Credentials, Listener, Revoked, Tls};
use madang_model::{GatewayTls, Protocol, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::stage::{Stage, mirror, system};

/// Whoever signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A client's certificate and key.
type Own = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Certificate::read(signed.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn client(&self, common_name: &str, uri: Option<&str>) -> Own {
        self.numbered(common_name, uri, None)
    }

    /// A client's certificate with a number that can be taken back.
    fn numbered(&self, common_name: &str, uri: Option<&str>, number: Option<u64>) -> Own {
        let mut params = CertificateParams::new([]).unwrap();
        params.serial_number = number.map(SerialNumber::from);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = uri.map(|uri| SanType::URI(uri.try_into().unwrap())).into_iter().collect();
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        (signed.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// The list of those that were taken back, by their numbers.
    fn revoked(&self, numbers: &[u64]) -> Revoked {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            // Over already: what was taken back stays so.
            next_update: date_time_ymd(2026, 1, 2),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.0).unwrap();
        Revoked::read(list.pem().unwrap().as_bytes()).unwrap()
    }

    fn authorities(&self) -> Authorities {
        Authorities::read(self.0.pem().as_bytes()).unwrap()
    }

    /// What a client needs that believes this authority.
    fn trusting(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
        own: Option<Own>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

fn shown(certificates: Vec<Certificate>) -> Credentials {
    Credentials { certificates, min_version: TlsVersion::V1_2, clients: None, acme: false }
}

/// What the manifest says; what is shown is read by others.
fn said() -> GatewayTls {
    GatewayTls {
        certificates: Vec::new(),
        development: false,
        min_version: TlsVersion::V1_2,
        redirect: None,
        clients: None,
        acme: None,
    }
}

/// A gateway that speaks TLS before a service that mirrors what reaches it.
async fn stage(config: Config, credentials: Credentials) -> Stage {
    let mut system = system(&["- /** -> users"]);
    system.gateway.tls = Some(said());
    let mut stage = Stage::start(config, system, Vec::new()).await;
    stage.add("users", mirror(Protocol::Http).await, Protocol::Http);
    stage.tls = Some(Tls::new(credentials).unwrap());
    stage.apply().await.unwrap();
    stage
}

async fn connect(
    stage: &Stage,
    name: &'static str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(stage.address()).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

/// Asks for `/x`, as agreed on; the status and what the service mirrors.
async fn get(stream: TlsStream<TcpStream>, name: &str) -> (u16, String) {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let answer = if is_http2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("https://{name}/x")).body(Full::<Bytes>::default());
        sender.send_request(request.unwrap()).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/x").header("host", name).body(Full::<Bytes>::default());
        sender.send_request(request.unwrap()).await.unwrap()
    };
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Where a listener waits for whoever the manifest sends there.
fn reserved() -> (std::net::SocketAddr, Listener) {
    let listener = Listener::from_std(std::net::TcpListener::bind(crate::stage::ANY).unwrap()).unwrap();
    (listener.local_addr(), listener)
}
