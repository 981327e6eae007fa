//! The way of a call, from outside in.

use http::Response;
use tower::{Service, ServiceBuilder};

use crate::{
    Body, CallError, breaker, deadline, exchange::Call, fallback, fault, hedge, hop, limit, outcome, park,
    record, retry, transport, transport::Outgoing,
};

/// The layers of a call over the network.
pub(crate) fn stack()
-> impl Service<Call, Response = Response<Body>, Error = CallError, Future: Send> + Clone + Send {
    stack_over(transport::service())
}

/// The layers of a call, in the order in which it passes them. They hold nothing: what a client owns travels
/// with the call, so that the stack costs nothing to make.
///
/// Before it, at the gateway: identity, rate limit and cache, which decide whether there is a call at all.
pub(crate) fn stack_over<S>(
    transport: S,
) -> impl Service<Call, Response = Response<Body>, Error = CallError, Future: Send> + Clone + Send
where
    S: Service<Outgoing, Response = Response<Body>, Error = CallError, Future: Send> + Clone + Send + 'static,
{
    ServiceBuilder::new()
        .layer(record::layer()) // outermost: sees every call, also one that its caller leaves
        .layer(fallback::layer()) // outside of all that can fail, inside the record, which says so
        .layer(deadline::total()) // outside retry and park: it caps the total
        .layer(limit::layer()) // outside retry: it counts calls, not attempts
        .layer(retry::layer()) // outside park: a retry may wait for the instance that comes back
        .layer(hedge::layer()) // inside retry: what it tries again may be hedged as a whole
        .layer(breaker::layer()) // inside retry: it sees each attempt, and retry must not hammer what it opened
        .layer(park::layer()) // chooses the instance, so that what follows knows it
        .layer(deadline::attempt()) // inside park: waiting for an instance costs no attempt its time
        .layer(outcome::layer()) // judges an instance by its answers, and the service; connecting included
        .layer(fault::layer()) // inside all that judges: injected as if the instance made them
        .layer(hop::layer()) // writes each attempt anew: its number and the time left
        .service(transport)
}
