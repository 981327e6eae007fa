//! The way of one caller, or of one route, to one service.

use std::sync::Arc;

use madang_model::ServiceName;

use crate::{Upstream, breaker::CircuitBreaker, hedge::Pace, last_good::LastGood, limiter::Limiter};

/// The way of one caller, or of one route, to one service: what is known of it that is not known of the service
/// as a whole. A [`Directory`](crate::Directory) keeps it over changes of limits, routes and endpoints.
pub struct Lane {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) origin: Origin,
    /// Of those for whom it is not the service's.
    pub(crate) breaker: CircuitBreaker,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) pace: Pace,
    pub(crate) last_good: LastGood,
}

/// Whose way it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// That of a service.
    Caller(ServiceName),
    /// That of a route of the gateway, by its template; the host, methods and headers tell routes of the same
    /// template apart.
    Route(Arc<str>),
    /// That of all who use the service's own listener.
    Listener,
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(origin: Origin, upstream: Arc<Upstream>) -> Self {
        Self {
            upstream,
            origin,
            breaker: CircuitBreaker::new(),
            limiter: Arc::default(),
            pace: Pace::default(),
            last_good: LastGood::default(),
        }
    }

    /// The service that it leads to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}

// === impl Origin ===

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Caller(service) => service.fmt(f),
            Self::Route(template) => template.fmt(f),
            Self::Listener => f.write_str("listener"),
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("service", self.upstream.name())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
