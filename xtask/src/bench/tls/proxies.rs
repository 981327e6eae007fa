//! nginx and Madang as they speak TLS, with one certificate for both.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};

use crate::bench::gateway::peers::{self, PROXY_CORE, Running};

/// The host of the certificate.
pub const HOST: &str = "shop.example";

/// Makes the certificate, on P-256, and leaves it in the folder; returns it as the client is to believe it.
pub fn certificate(folder: &Path) -> Result<Vec<u8>> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([HOST.to_owned()])?.self_signed(&key)?;
    fs::write(folder.join("own.pem"), certificate.pem())?;
    fs::write(folder.join("own.key"), key.serialize_pem())?;
    Ok(certificate.der().to_vec())
}

/// Madang's gateway.
pub fn madang(proxy: &Path, folder: &Path, upstream: SocketAddr) -> Result<Running> {
    let listen = peers::free_address()?;
    let mut command = peers::pinned(PROXY_CORE, proxy);
    command.arg("--tls").args([folder.join("own.pem"), folder.join("own.key")]);
    command.args([listen.to_string(), upstream.to_string()]);
    Running::start("Madang", &mut command, listen, listen)
}

/// nginx with one process, keep-alive to the upstream, tickets for sessions, and no access log.
pub fn nginx(folder: &Path, upstream: SocketAddr) -> Result<Running> {
    let listen = peers::free_address()?;
    let at = folder.display();
    let server = format!(
        "listen {listen} ssl http2;
    ssl_certificate {at}/own.pem; ssl_certificate_key {at}/own.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;"
    );
    let mut command = peers::nginx_of(folder, "", &server, "", upstream)?;
    Running::start("nginx", &mut command, listen, listen)
}
