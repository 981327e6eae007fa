//! A connection until the client and the gateway have agreed on TLS.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use http::StatusCode;
use madang_calls::BoxError;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Connection, LATE, Protocols, sniffed::Sniffed};
use crate::{
    tls::{self, peer::Peer, proof::ACME, reach::Reach},
    unread,
};

/// What a connection over TLS is known to be.
pub(super) struct Secure {
    /// Whoever has shown a certificate that is taken.
    pub(super) peer: Option<Peer>,
    /// Which hosts it is good for; any if absent.
    pub(super) reach: Option<Reach>,
}

/// A connection that is about to agree on TLS.
pub(crate) struct Handshake {
    connection: Arc<Connection>,
    shown: Arc<tls::Shown>,
    agreed: bool,
}

impl Connection {
    /// Begins to agree on TLS.
    pub(crate) fn shake_hands(self: &Arc<Self>, shown: Arc<tls::Shown>) -> Handshake {
        self.shakes_hands.store(true, Relaxed);
        self.worker.handshake_begins();
        Handshake { connection: self.clone(), shown, agreed: false }
    }

    /// Ends a handshake that is under way, to make room for others. Whether it was.
    pub(crate) fn give_way(&self) -> bool {
        let gives_way = self.hands_are_free();
        if gives_way {
            self.abort();
        }
        gives_way
    }

    /// Over TLS the protocol is agreed on by it, and by nothing else (RFC 9113, section 3.2).
    pub(super) async fn serve_over_tls(
        self: &Arc<Self>,
        mut stream: TcpStream,
        hands: Handshake,
        protocols: &Protocols,
    ) -> Result<(), BoxError> {
        // A handshake has the time of a head; a connection that is told to finish before it has a request ends.
        self.bytes_came();
        let acceptor = TlsAcceptor::from(hands.shown.config.clone());
        let shaking = async {
            if !tls::speaks_tls(&stream).await? {
                self.worker.counters.answered(StatusCode::BAD_REQUEST);
                stream.write_all(&unread::plain()).await?;
                return Ok(None);
            }
            acceptor.accept(stream).await.map(Some)
        };
        let shaken = self.until_told(shaking, |_| self.abort()).await;
        let is_late = self.told.load(Relaxed) == LATE;
        let mut stream = match shaken {
            Some(Ok(Some(stream))) if !is_late => stream,
            Some(Err(error)) => return Err(error.into()),
            _ => return Ok(()),
        };
        let session = stream.get_ref().1;
        let reach = hands.shown.reach(session.server_name());
        hands.shaken();
        if session.alpn_protocol() == Some(ACME) {
            // It has seen what it wanted to (RFC 8737, section 3).
            return Ok(stream.shutdown().await?);
        }
        let is_http2 = session.alpn_protocol() == Some(tls::HTTP2);
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let _ = self.secure.set(Secure { peer: certificate.and_then(Peer::of), reach });
        self.head_since.store(0, Relaxed);
        self.speak(Sniffed { first: Bytes::new(), stream, heads: None, unread: None }, is_http2, protocols)
            .await
    }

    /// Counts a handshake out, once; whether it was one.
    fn hands_are_free(&self) -> bool {
        let was = self.shakes_hands.swap(false, Relaxed);
        if was {
            self.worker.handshake_ended();
        }
        was
    }
}

// === impl Handshake ===

impl Handshake {
    /// They have agreed.
    fn shaken(mut self) {
        self.agreed = true;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.connection.hands_are_free();
        self.connection.worker.counters.shaken(self.agreed);
    }
}
