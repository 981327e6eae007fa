//! A connection that has switched to another protocol (RFC 9110, section 7.8): from then on it is bytes, both ways.
//!
//! All that comes before is a call like any other: it waits for an instance, has a time limit, is tried again if it may be,
//! and its record says how the instance answered.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode, header::UPGRADE};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;

use crate::{Body, BoxError, CallError, exchange::Exchange, pool::Connection};

/// The other end of an answer 101 to [`crate::Client::call_switching`].
pub struct Tunnel {
    switching: OnUpgrade,
    /// What is left of a connection that carried messages; without it there are no bytes either.
    connection: Connection,
}

/// On its way through the layers, with the answer.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Tunnel>>>);

// === impl Tunnel ===

impl Tunnel {
    /// The other end of an answer, if its service has switched.
    pub fn of(answer: &mut Response<Body>) -> Option<Self> {
        let Carried(tunnel) = answer.extensions_mut().remove()?;
        tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// An answer that carries it; an error if nobody asked for one.
    pub(crate) fn carried_by(
        mut answer: Response<Incoming>,
        connection: Connection,
        exchange: &Exchange,
    ) -> Result<Response<Body>, CallError> {
        if exchange.switch.get().is_none() {
            let service = exchange.upstream().name().clone();
            return Err(CallError::Broken { service, source: Unasked.into() });
        }
        let switching = hyper::upgrade::on(&mut answer);
        let tunnel = Self { switching, connection };
        answer.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(tunnel)))));
        Ok(answer.map(|_| Body::empty()))
    }

    /// The bytes, once the head of the answer is read.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn open(self) -> Result<TokioIo<Upgraded>, BoxError> {
        let stream = self.switching.await?;
        drop(self.connection);
        Ok(TokioIo::new(stream))
    }
}

/// What an answer says that switches: to which protocol. Its other fields for one connection have gone.
pub(crate) fn keep_protocol(answer: &mut Response<Body>, strip: impl FnOnce(&mut http::HeaderMap)) {
    let protocol = answer.headers().get(UPGRADE).cloned();
    strip(answer.headers_mut());
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(UPGRADE, protocol);
    }
}

/// A service that switches although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("the instance switches to another protocol, which it was not asked to")]
struct Unasked;

/// Whether an answer switches.
pub(crate) fn switches<B>(answer: &Response<B>) -> bool {
    answer.status() == StatusCode::SWITCHING_PROTOCOLS
}
