//! Requests after which a connection speaks something else: WebSocket (RFC 6455) and other upgrades of HTTP/1.1, and
//! WebSocket over a stream of HTTP/2 (RFC 8441).
//!
//! A request for one goes the way of every other, and so does its answer, unless that is 101. From then on bytes pass both
//! ways as they come, and nobody here looks at them. A tunnel is bound to no route: a change does not touch it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use madang_calls::{Body, BoxError, CallError, Calling, Tunnel};
use madang_model::ServiceName;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::sleep,
};
use tracing::debug;

use crate::{
    answer::Refusal,
    connection::InFlight,
    worker::{TICK, Worker},
};

/// What a server adds to a key before it hashes it (RFC 6455, section 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The client's side of a tunnel that is asked for.
pub(crate) struct Switch {
    /// What is to be spoken.
    pub(crate) protocol: HeaderValue,
    client: OnUpgrade,
    /// Over HTTP/2, which has no such handshake: the key that the service is asked with.
    key: Option<HeaderValue>,
}

/// A place among the tunnels of a worker.
pub(crate) struct Room(Arc<Worker>);

/// A service that has switched, and cannot have read what it was asked.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the instance has switched with another answer to the key than RFC 6455 has it")]
    Accept,
    #[error(
        "the instance has answered {0} in place of 101, which over HTTP/2 would open a tunnel that there is not"
    )]
    Unswitched(StatusCode),
}

// === impl Switch ===

impl Switch {
    /// Of an admitted request.
    pub(crate) fn of(request: &mut Request<Incoming>, protocol: HeaderValue) -> Self {
        let client = hyper::upgrade::on(&mut *request);
        let key = (request.version() == Version::HTTP_2).then(|| {
            let key = STANDARD.encode(rand::random::<[u8; 16]>());
            // Base64 is text.
            let key = HeaderValue::try_from(key).unwrap_or_else(|_| HeaderValue::from_static(""));
            request.headers_mut().insert(SEC_WEBSOCKET_KEY, key.clone());
            key
        });
        Self { protocol, client, key }
    }

    /// What is answered; if the service switches, bytes pass from then on.
    pub(crate) async fn answer<F>(
        self,
        room: Room,
        call: Pin<&mut Calling<F>>,
        service: &ServiceName,
        in_flight: &InFlight,
        silence: Duration,
    ) -> Result<Response<Body>, Refusal>
    where
        F: Future<Output = Result<Response<Body>, CallError>>,
    {
        let mut answer = call.await?;
        let broken = |unfit: Unfit| CallError::Broken { service: service.clone(), source: unfit.into() };
        let Some(tunnel) = Tunnel::of(&mut answer) else {
            // To a client over HTTP/2 any success says that there is a tunnel.
            let misread = self.key.is_some() && answer.status().is_success();
            return if misread { Err(broken(Unfit::Unswitched(answer.status())).into()) } else { Ok(answer) };
        };
        match &self.key {
            Some(key) => {
                let accepted = answer.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
                if accepted.is_none_or(|accepted| accepted.as_bytes() != accept(key).as_bytes()) {
                    return Err(broken(Unfit::Accept).into());
                }
                answer.headers_mut().remove(UPGRADE);
                *answer.status_mut() = StatusCode::OK;
            }
            None => {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
                answer.headers_mut().entry(UPGRADE).or_insert(self.protocol);
            }
        }
        tokio::spawn(carry(self.client, tunnel, in_flight.another(), room, silence, self.key.is_none()));
        Ok(answer)
    }
}

fn accept(key: &HeaderValue) -> String {
    let text = [key.as_bytes(), MAGIC.as_bytes()].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// Passes bytes until one side has gone, both have said all, nobody has said anything for too long, or the
/// connection is told to end.
async fn carry(
    client: OnUpgrade,
    tunnel: Tunnel,
    in_flight: InFlight,
    room: Room,
    silence: Duration,
    whole_connection: bool,
) {
    let connection = in_flight.connection();
    if whole_connection {
        connection.is_now_a_tunnel();
    }
    let carried = async {
        let (client, service) = tokio::join!(client, tunnel.open());
        let heard = AtomicU32::new(room.0.now());
        let worker = &*room.0;
        let mut client = Heard { stream: TokioIo::new(client?), heard: &heard, worker };
        let mut service = Heard { stream: service?, heard: &heard, worker };
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut service) => copied.map(drop).map_err(BoxError::from),
            () = silent(&heard, worker, silence) => {
                worker.counters.tunnel_was_silent();
                Ok(())
            }
        }
    };
    // A stream of HTTP/2 ends with its connection, which is told for all of them.
    let ended = match whole_connection {
        true => connection.until_told(carried, |_| ()).await.unwrap_or(Ok(())),
        false => carried.await,
    };
    if let Err(error) = ended {
        debug!(%error, "a tunnel broke");
    }
}

/// Waits until nothing has been heard for so long.
async fn silent(heard: &AtomicU32, worker: &Worker, time: Duration) {
    let most = u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
    loop {
        let since = worker.now().saturating_sub(heard.load(Relaxed));
        if since > most {
            return;
        }
        sleep(TICK * (most - since).saturating_add(1)).await;
    }
}

/// A stream that says when bytes came.
struct Heard<'a, S> {
    stream: S,
    heard: &'a AtomicU32,
    worker: &'a Worker,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        if polled.is_ready() {
            self.heard.store(self.worker.now(), Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// === impl Room ===

impl Room {
    /// A place, if there is one.
    pub(crate) fn take(worker: &Arc<Worker>) -> Option<Self> {
        worker.tunnel_begins().then(|| Self(worker.clone()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.tunnel_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(
            accept(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
