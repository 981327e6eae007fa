//! The time limit of an answer's body.
//!
//! A body of known length belongs to the answer, so that the call's own limit holds to its end. A stream may
//! last for ever, but not without a frame in either direction for longer than the idle limit, and not past the
//! deadline that a gRPC call states of its own, which is one for the whole of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use madang_model::ServiceName;
use tokio::time::Instant;

use crate::{context::later, exchange::Exchange, timer::Sleep};

/// The time limit of an answer's body.
pub(crate) struct Watch {
    exchange: Arc<Exchange>,
    sleep: Sleep,
    limit: Limit,
}

enum Limit {
    /// Like that of the head: from this time on, for so long.
    Total { started: Instant, limit: Duration },
    /// From each frame on.
    Idle { last: Instant },
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Expired {
    #[error("{service} did not finish its answer within {after:?}")]
    Total { service: ServiceName, after: Duration },
    #[error("nothing came from {service} for {after:?}")]
    Idle { service: ServiceName, after: Duration },
}

// === impl Watch ===

impl Watch {
    /// Until a limit that began earlier is reached, with the timer that already runs for it.
    pub(crate) fn total(exchange: Arc<Exchange>, sleep: Sleep, started: Instant, limit: Duration) -> Self {
        Self { exchange, sleep, limit: Limit::Total { started, limit } }
    }

    /// Until nothing has come for the idle limit.
    pub(crate) fn idle(exchange: Arc<Exchange>) -> Self {
        let last = Instant::now();
        let idle = later(last, exchange.policy.idle_timeout);
        let due = exchange.grpc_due.map_or(idle, |due| due.min(idle));
        let sleep = exchange.worker.timer.sleep_until(due);
        Self { exchange, sleep, limit: Limit::Idle { last } }
    }

    /// A frame came.
    pub(crate) fn progressed(&mut self) {
        // The timer is not touched: it looks here when it fires.
        if let Limit::Idle { last } = &mut self.limit {
            *last = Instant::now();
        }
    }

    /// Why the body must end now, if it must.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Option<Expired> {
        while Pin::new(&mut self.sleep).poll(cx) == Poll::Ready(()) {
            let now = Instant::now();
            let next = match self.limit {
                Limit::Total { started, limit } => self.exchange.due(started, limit, now),
                Limit::Idle { last } => {
                    let upload = self.exchange.upload.progress().map_or(last, |upload| upload.last);
                    let idle = later(last.max(upload), self.exchange.policy.idle_timeout);
                    let due = self.exchange.grpc_due.map_or(idle, |due| due.min(idle));
                    (due > now).then_some(due)
                }
            };
            match next {
                Some(due) => self.sleep.reset(due),
                None => return Some(self.expired(now)),
            }
        }
        None
    }

    fn expired(&self, now: Instant) -> Expired {
        let service = self.exchange.upstream().name().clone();
        match self.limit {
            Limit::Total { started, .. } => Expired::Total { service, after: now - started },
            Limit::Idle { .. } if self.exchange.grpc_due.is_some_and(|due| due <= now) => {
                Expired::Total { service, after: now - self.exchange.started }
            }
            Limit::Idle { .. } => Expired::Idle { service, after: self.exchange.policy.idle_timeout },
        }
    }
}
