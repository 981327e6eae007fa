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
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid;
error_log {at}/nginx.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 75s;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
  fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  upstream service {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {listen} ssl http2;
    ssl_certificate {at}/own.pem; ssl_certificate_key {at}/own.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
    location / {{
      proxy_pass http://service; proxy_http_version 1.1;
      proxy_set_header Connection \"\"; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = peers::pinned(PROXY_CORE, Path::new("/usr/sbin/nginx"));
    command.arg("-c").arg(file);
    Running::start("nginx", &mut command, listen, listen)
}
