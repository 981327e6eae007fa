//! The client's end of TLS.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, LocalSet},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::proxies::HOST;

/// How many connections are open at once: the client keeps eight tickets, each good once.
const PLACES: usize = 4;

/// What begins TLS on a connection, in one way.
pub struct Connector(TlsConnector);

impl Connector {
    /// One that believes this certificate.
    pub fn new(own: &[u8], resumes: bool, http2: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(own.to_vec()))?;
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        let builder =
            ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(&[&TLS13])?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        config.resumption = if resumes { Resumption::in_memory_sessions(16) } else { Resumption::disabled() };
        Ok(Self(Arc::new(config).into()))
    }

    /// Begins TLS.
    pub async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.context("failed to connect to the proxy")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST)?;
        self.0.connect(name, stream).await.context("failed to agree on TLS")
    }
}

/// So many connections, one after the other in a few places, with one request each.
pub fn connections(
    address: SocketAddr,
    connector: &'static Connector,
    count: usize,
    resumed: bool,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (left, full) = (Rc::new(Cell::new(count)), Rc::new(Cell::new(0)));
    LocalSet::new().block_on(&runtime, async {
        let mut running = JoinSet::new();
        for _ in 0..PLACES {
            let (left, full) = (left.clone(), full.clone());
            running.spawn_local(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    if one(address, connector).await? == HandshakeKind::Full {
                        full.set(full.get() + 1);
                    }
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        // At the very first nothing was agreed on before.
        let kept = if resumed { full.get() <= PLACES } else { full.get() == count };
        ensure!(kept, "{} of {count} handshakes were full", full.get());
        Ok(())
    })
}

/// The answer brings what the next connection goes on with.
async fn one(address: SocketAddr, connector: &Connector) -> Result<HandshakeKind> {
    let mut stream = connector.connect(address).await?;
    let kind = stream.get_ref().1.handshake_kind().context("the handshake has no end")?;
    let request = format!("GET /bytes/128 HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    // What ends without saying so has still answered.
    let _ = stream.read_to_end(&mut answer).await;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "the proxy answered {}", String::from_utf8_lossy(&answer));
    Ok(kind)
}
