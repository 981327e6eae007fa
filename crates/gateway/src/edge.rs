//! One request, from its head to the head of its answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderName, Request, Response, request::Parts};
use hyper::body::Incoming;
use madang_calls::{Body, Context, Deadline};
use madang_wire::headers;
use tokio::time::Instant;

use crate::{
    answer::{Form, Refusal},
    connection::{AnswerBody, Connection, InFlight},
    inspect,
    router::{Found, Target},
    snapshot::{Destination, Front},
};

const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// A request on its way through the edge.
struct Asked<'a> {
    connection: &'a Connection,
    arrived: Instant,
    context: Context,
    parts: Parts,
}

/// Answers a request: with what the service says, or with a problem that says why it cannot be asked.
pub(crate) async fn answer(
    in_flight: InFlight,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let arrived = Instant::now();
    let connection = in_flight.connection();
    let (parts, body) = request.into_parts();
    let form = Form::of(&parts);
    let context = context(connection, &parts);
    let (request_id, trace_id) = (context.request_id.0.clone(), context.trace.trace_id);

    let outcome = compose(Asked { connection, arrived, context, parts }, body).await;

    let mut response = outcome.unwrap_or_else(|refusal| refusal.answer(form, &request_id, trace_id));
    response.headers_mut().insert(REQUEST_ID, request_id);
    connection.worker.counters.answered(response.status(), arrived.elapsed());
    Ok(response.map(|body| AnswerBody::new(body, in_flight)))
}

/// The way of a request through the edge. Each later layer has its place here.
async fn compose(mut asked: Asked<'_>, body: Incoming) -> Result<Response<Body>, Refusal> {
    asked.admit()?; // first: everything below sees one form of the request
    let destination = asked.route()?;
    // identity: after the route, which says whether it asks for a principal; sets `context.principal`
    // rate limit: after identity, so that it can be per principal; a refusal here costs no upstream
    // cache: after both, so that a hit is still authorised and counted
    asked.call(&destination, body).await // breaker, retries, balance, faults, time limits: the call's layers
}

impl Asked<'_> {
    fn admit(&mut self) -> Result<(), Refusal> {
        let admitted = inspect::admit(&mut self.parts, &self.connection.sender());
        admitted.map_err(|unfit| self.refuse(unfit))
    }

    fn route(&mut self) -> Result<Arc<Destination>, Refusal> {
        let front = self.connection.port.front.load();
        let routed = route(&front, &self.parts, &mut self.context);
        routed.map_err(|refusal| self.refuse(refusal))
    }

    async fn call(mut self, destination: &Destination, body: Incoming) -> Result<Response<Body>, Refusal> {
        self.parts.extensions.insert(self.context);
        let request = Request::from_parts(self.parts, Body::incoming(body));
        let client = self.connection.client();
        Ok(client.call(&destination.upstream, &destination.policy, request).await?)
    }

    /// Records what is answered here; a call records itself.
    fn refuse(&self, refusal: impl Into<Refusal>) -> Refusal {
        let refusal = refusal.into();
        let client = self.connection.client();
        client.record_answered(&self.context, &self.parts.method, refusal.code(), self.arrived);
        refusal
    }
}

/// Nobody behind a listener is authenticated, so that only ids and the idempotency key are taken over. At a
/// service's own listener a caller may shorten its time, which can harm nobody else.
fn context(connection: &Connection, parts: &Parts) -> Context {
    let mut context = Context::from_headers(&parts.headers, false);
    if connection.port.is_door {
        let timeout = parts.headers.get(headers::TIMEOUT).and_then(|value| value.to_str().ok());
        let millis = timeout.and_then(|value| value.parse().ok());
        context.deadline = millis.map(|millis| Deadline::after(Duration::from_millis(millis)));
    }
    context
}

/// Where a request goes by the table in force now.
fn route(front: &Front, parts: &Parts, context: &mut Context) -> Result<Arc<Destination>, Refusal> {
    let table = match front {
        Front::Service(destination) => return Ok(destination.clone()),
        Front::Gateway(table) => table,
    };
    let target = Target {
        host: inspect::host(&parts.headers),
        path: parts.uri.path(),
        method: &parts.method,
        headers: &parts.headers,
    };
    match table.router.find(target) {
        Found::Route(index) => {
            let route = &table.routes[index];
            context.route = Some(route.template.clone());
            Ok(route.choose(rand::random).clone())
        }
        Found::OtherMethods(methods) => Err(Refusal::Method(methods)),
        Found::Nothing => Err(Refusal::NoRoute),
    }
}
