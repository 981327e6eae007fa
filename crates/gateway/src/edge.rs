//! One request, from its head to the head of its answer.

mod cached;
mod switching;
mod visiting;
mod waiting;

use std::{convert::Infallible, pin::pin, sync::Arc};

use arc_swap::Guard;
use http::{HeaderName, Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use madang_calls::{Body, CallError, Calling, Client, Context, Deadline, grpc_timeout};
use madang_model::policy::Priority;
use madang_wire::headers;

use self::{
    cached::{Kept, asked_for},
    switching::Switching,
    visiting::Visiting,
    waiting::Pending,
};
use crate::{
    answer::{Asker, Refusal},
    auth::{
        denied::{Denied, Reason},
        guard::{Admission, Pause, Visitor},
        sealed::Sealed,
    },
    cache::{Ask, Errand},
    connection::{AnswerBody, Connection, InFlight},
    grpc_web::Web,
    inspect,
    login::{origin, visit::Visit},
    policies::{Passage, cors},
    proxies::{self, Told},
    router::{Found, Router, Target},
    snapshot::{Destination, Destinations, Front, Table, Ways},
    tunnel::Switch,
};

const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// A request on its way through the edge. It is changed in place: moving it costs more than a layer does.
struct Asked<'a> {
    connection: &'a Connection,
    client: &'a Client,
    context: Context,
    request: Request<Incoming>,
    /// Whom it is made for, if a proxy that is trusted makes it.
    told: Option<Box<Told>>,
    /// What is to be spoken afterwards, if it is not HTTP.
    switch: Option<Box<Switch>>,
    /// How its client speaks gRPC-Web, if it does and the service speaks gRPC.
    web: Option<Web>,
    /// Whose it is, where that is asked.
    known: Option<Arc<Sealed>>,
    /// Absent where the gateway does nothing itself.
    passage: Option<Box<Passage>>,
}

/// Why a request does not go on at once.
enum Stop {
    Refused(Refusal),
    /// Who it is for is known only after that.
    Waits(Arc<Destination>, Pause),
    /// It is for the gateway itself, on somebody's way in or out.
    Visits(Box<Visit>),
    /// It is the cache's concern.
    Kept(Kept, Arc<Destination>),
}

/// What becomes of a request.
enum Outcome<C> {
    Calls(C),
    Waits(Box<Pending>),
    /// It is to become a tunnel.
    Switches(Box<Switching>),
    Visits(Box<Visiting>),
    /// The service is asked for the cache.
    Asks(Box<(Box<Ask>, Errand)>),
    Answered(Box<(Response<Body>, Context)>),
}

/// A call under way.
trait Answering: Future<Output = Result<Response<Body>, CallError>> + Send {}

impl<F: Future<Output = Result<Response<Body>, CallError>> + Send> Answering for F {}

/// Answers a request: with what the service says, or with a problem that says why it cannot be asked.
///
/// What needs no waiting is done before there is a future, which need then not hold the request: the smaller it
/// is, the less it costs to move, and over HTTP/2 it moves into a task of its own.
pub(crate) fn answer(
    in_flight: InFlight,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> {
    let connection = in_flight.connection();
    let asker = Asker::of(&request);
    // Looked at once, because it may be replaced at any time: the whole request goes by what it was.
    let front = connection.port.front.load();
    let client = connection.worker.client(&front);
    let context = context(&front, &request);
    let told = front.told(connection.visitor().address, request.headers());

    let mut asked = Asked { told, ..Asked::new(connection, client, context, request) };
    let composed = compose(&mut asked, front);
    let waits = matches!(composed, Err(Stop::Waits(..)));
    let passage = if waits { None } else { asked.passage.take() };
    let web = asked.web;
    let asker = if web.is_some() { asker.of_grpc() } else { asker };
    let outcome = match composed {
        Ok(destination) => match asked.switch.take() {
            None => Outcome::Calls(asked.call(&destination, passage.as_deref())),
            Some(switch) => Outcome::Switches(asked.switching(switch, destination)),
        },
        Err(Stop::Refused(refusal)) => {
            Outcome::Answered(Box::new((refusal.answer(asker, &asked.context), asked.context)))
        }
        Err(Stop::Kept(Kept::Answers(answer), _)) => Outcome::Answered(Box::new((*answer, asked.context))),
        Err(Stop::Kept(Kept::Asks(ask), destination)) => {
            Outcome::Asks(Box::new((ask, asked.errand(destination, passage.as_deref()))))
        }
        Err(Stop::Waits(destination, pause)) => Outcome::Waits(Box::new(asked.pending(destination, pause))),
        Err(Stop::Visits(visit)) => Outcome::Visits(Box::new(asked.visiting(*visit))),
    };
    async move {
        let (mut response, mut request_id) = match outcome {
            Outcome::Calls(call) => {
                let mut call = pin!(call);
                let answer = call.as_mut().await;
                let context = call.context();
                let problem = |error| Refusal::from(error).answer(asker, context);
                let mut answer = answer.unwrap_or_else(problem);
                if let Some(passage) = passage {
                    if passage.remakes(&answer, asker) {
                        // In a box, because it is rare and large.
                        answer = Box::pin(passage.remade(answer, asker, context)).await;
                    }
                    answer = passage.finish(answer, context);
                }
                (answer, context.request_id.0.clone())
            }
            // In a box, because it is rare and large.
            Outcome::Waits(pending) => Box::pin(pending.answer(asker, &in_flight)).await,
            Outcome::Switches(switching) => Box::pin(switching.answer(asker, &in_flight, passage)).await,
            Outcome::Visits(visiting) => Box::pin(visiting.answer(asker)).await,
            Outcome::Asks(asks) => Box::pin(asked_for(*asks, passage, asker)).await,
            Outcome::Answered(answered) => {
                let (answer, context) = *answered;
                (Passage::finished(passage, answer, asker, &context).await, context.request_id.0)
            }
        };
        if let Some(web) = web {
            response = web.answer(response);
        }
        // It never comes again: HTTP/2 must not keep it in a table for the next answers (RFC 7541, section 7.1.3).
        request_id.set_sensitive(true);
        response.headers_mut().insert(REQUEST_ID, request_id);
        in_flight.connection().worker.counters.answered(response.status());
        Ok(response.map(|body| AnswerBody::new(body, in_flight)))
    }
}

/// The way of a request through the edge, to where it is sent. Each later layer has its place here.
fn compose(asked: &mut Asked<'_>, front: Guard<Arc<Front>>) -> Result<Arc<Destination>, Stop> {
    asked.admit()?; // first: everything below sees one form of the request
    let destination = asked.route(front)?;
    asked.translate(&destination); // before who it is, so that all who refuse say so in gRPC's terms
    asked.identify(&destination)?; // after the route, which says whether it asks for whom the request is
    asked.keep_session(&destination); // before anything is passed on or copied
    asked.pass()?; // after identity, so that a rate limit can be per principal; a refusal here costs no upstream
    asked.recall(&destination)?; // after both, so that an answer that is kept is still authorised and counted
    Ok(destination) // breaker, retries, balance, faults, time limits: the layers of the call that follows
}

impl<'a> Asked<'a> {
    fn new(
        connection: &'a Connection,
        client: &'a Client,
        context: Context,
        request: Request<Incoming>,
    ) -> Self {
        let (told, switch, web, known, passage) = (None, None, None, None, None);
        Self { connection, client, context, request, told, switch, web, known, passage }
    }

    fn admit(&mut self) -> Result<(), Refusal> {
        let sender = proxies::sender(self.told.as_deref(), self.connection.sender());
        let admitted = inspect::admit(&mut self.request, &sender);
        if let Some(protocol) = admitted.map_err(|unfit| self.refuse(unfit))? {
            self.switch = Some(Box::new(Switch::of(&mut self.request, protocol)));
        }
        if self.request.uri().path() == inspect::EVERYTHING {
            self.context.route = Some(inspect::EVERYTHING.into());
            return Err(self.refuse(Refusal::Everything));
        }
        Ok(())
    }

    /// Lets go of the front, which must not be held while the service is waited for.
    fn route(&mut self, front: Guard<Arc<Front>>) -> Result<Arc<Destination>, Stop> {
        let table = match &**front {
            Front::Service(destination) => return Ok(destination.clone()),
            Front::Door(ways) => return Ok(self.enter(ways)),
            Front::Gateway(table) if table.hides(self.request.uri().path()) => {
                return Err(self.refuse(Refusal::NoRoute).into());
            }
            Front::Gateway(table) => table,
            Front::Redirect(redirect) => {
                let (instead, route) = redirect.instead(&self.request);
                self.context.route = route.map(Arc::from);
                return Err(self.refuse(instead).into());
            }
        };
        if let Some(login) = &table.login
            && self.request.uri().path().starts_with(madang_model::Login::PATH)
        {
            self.context.route = Visit::route(self.request.uri().path()).map(Arc::from);
            return Err(self.visits(Visit::of(login, &self.request)));
        }
        if let Some(answer) = self.preflight(table) {
            return Err(answer.into());
        }
        let route = match table.router.find(self.target(&table.router)) {
            Found::Route(index) => &table.routes[index],
            Found::OtherMethods(methods) => return Err(self.refuse(Refusal::Method(methods)).into()),
            Found::Nothing => return Err(self.refuse(Refusal::NoRoute).into()),
        };
        self.context.route = Some(route.template.clone());
        if let Some(elsewhere) = &route.elsewhere {
            let location = elsewhere.location(self.request.uri());
            return Err(self.refuse(Refusal::Redirected(elsewhere.status(), location)).into());
        }
        Ok(self.enter_edge(route)?)
    }

    fn enter_edge(&mut self, route: &Destinations) -> Result<Arc<Destination>, Refusal> {
        let address = self.visitor().address;
        let (destination, cookie) = match &route.sticky {
            None => (route.choose(rand::random), None),
            Some(sticky) => {
                let (at, cookie) = sticky.choose(address, self.request.headers(), rand::random);
                (route.at(at), cookie)
            }
        };
        if let Some(edge) = &destination.edge {
            let passage = Passage::new(edge, &self.request, address, cookie);
            let entered = passage.enter(&mut self.request);
            self.passage = Some(passage);
            entered.map_err(|refusal| self.refuse(refusal))?;
        }
        Ok(destination.clone())
    }

    /// The answer to what a browser asks before a request: before anybody is asked who they are.
    fn preflight(&mut self, table: &Table) -> Option<Refusal> {
        let method = cors::asked_about(self.request.method(), self.request.headers())?;
        let target = Target { method: &method, ..self.target(&table.router) };
        let Found::Route(index) = table.router.find(target) else { return None };
        let route = &table.routes[index];
        let cors = route.first()?.edge.as_ref()?.cors.as_ref()?;
        self.context.route = Some(route.template.clone());
        let answer = cors.preflight(self.request.headers());
        Some(self.refuse(answer.map_or(Refusal::ForeignOrigin, |it| Refusal::Preflight(Box::new(it)))))
    }

    fn visitor(&self) -> Visitor<'a> {
        proxies::visitor(self.told.as_deref(), self.connection.visitor())
    }

    fn translate(&mut self, destination: &Destination) {
        if destination.speaks_grpc {
            self.web = Web::of(&mut self.request);
        }
    }

    /// Whoever names itself as the caller is known by the door only.
    fn enter(&mut self, ways: &Ways) -> Arc<Destination> {
        let way = ways.of(self.context.caller.as_ref());
        self.context.caller = Some(way.caller.clone());
        way.destination.clone()
    }

    fn identify(&mut self, destination: &Arc<Destination>) -> Result<(), Stop> {
        match self.admission(destination, false) {
            Some(Admission::Wait(pause)) => Err(Stop::Waits(destination.clone(), pause)),
            Some(Admission::Not(Denied { reason: Reason::Nobody, .. }))
                if let Some(login) = &destination.login
                    && origin::is_navigation(self.request.method(), self.request.headers()) =>
            {
                Err(Stop::Visits(Box::new(Visit::asked(login, &self.request))))
            }
            Some(Admission::Not(denied)) => Err(self.refuse(denied).into()),
            Some(Admission::As(_) | Admission::Nobody) | None => Ok(()),
        }
    }

    /// Nothing where nobody is asked who they are.
    fn admission(&mut self, destination: &Destination, last: bool) -> Option<Admission> {
        let guard = destination.guard.as_ref()?;
        // Any page can open a WebSocket to anywhere, with the cookies of there: it is as good as a request that changes
        // something.
        let method = if self.switch.is_some() { Method::CONNECT } else { self.request.method().clone() };
        let visitor = self.visitor();
        let admission = guard.admit(&method, self.request.headers_mut(), visitor, last);
        if let Admission::As(known) = &admission {
            self.context.principal = Some(known.principal.clone());
            self.known = Some(known.clone());
        }
        Some(admission)
    }

    /// Nobody behind the gateway sees the session of a browser.
    fn keep_session(&mut self, destination: &Destination) {
        if let Some(login) = &destination.login {
            login.strip(self.request.headers_mut());
        }
    }

    /// What the gateway itself does, once it is known whose the request is.
    fn pass(&mut self) -> Result<(), Refusal> {
        let Some(passage) = &mut self.passage else { return Ok(()) };
        let who = self.known.as_ref().map(|known| &known.who);
        let passed = passage.pass(&mut self.request, who, &self.context);
        passed.map_err(|refusal| self.refuse(refusal))
    }

    /// What is none of the paths for it is no route, and what is asked by another method is told so.
    fn visits(&self, visit: Visit) -> Stop {
        match visit.nothing() {
            None => Stop::Visits(Box::new(visit)),
            Some(None) => self.refuse(Refusal::NoRoute).into(),
            Some(Some(method)) => self.refuse(Refusal::Method(vec![method])).into(),
        }
    }

    fn call(self, destination: &Destination, passage: Option<&Passage>) -> Calling<impl Answering + use<>> {
        let Destination { lane, policy, .. } = destination;
        let (client, context, head, body) = self.sent(passage);
        client.call_in(context, lane, policy, head, body)
    }

    /// The request as it goes on.
    fn sent(self, passage: Option<&Passage>) -> (&'a Client, Context, Parts, Body) {
        let (head, body) = self.request.into_parts();
        let mut body = match self.web {
            None => Body::incoming(body),
            Some(web) => web.request(Body::incoming(body)),
        };
        if let Some(passage) = passage {
            let mirror_client = || self.connection.worker.mirror_client();
            body = passage.send(mirror_client, &self.context, &head, body);
        }
        (self.client, self.context, head, body)
    }

    fn target(&self, router: &Router) -> Target<'_> {
        Target {
            // Finding the name in the field costs more than most routers want of it.
            host: if router.looks_at_host() { inspect::host(self.request.headers()) } else { "" },
            path: self.request.uri().path(),
            method: self.request.method(),
            headers: self.request.headers(),
        }
    }

    /// Records what is answered here; a call records itself.
    fn refuse(&self, refusal: impl Into<Refusal>) -> Refusal {
        let refusal = refusal.into();
        refusal.record(self.client, &self.context, self.request.method());
        refusal
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Nobody behind a listener is authenticated, so that only ids and the idempotency key are taken over. At a
/// service's own listener a caller may shorten its time and say that it matters less, which can harm nobody else. A door
/// is for the services of one unit, which say themselves for which request they call, and how much it matters; the count
/// of attempts begins here.
fn context(front: &Front, request: &Request<Incoming>) -> Context {
    let given = request.headers();
    if matches!(front, Front::Door(_)) {
        return Context { attempt: 1, ..Context::from_headers(given, true) };
    }
    let mut context = Context::from_headers(given, false);
    if front.is_inside() {
        let priority = given.get(headers::PRIORITY).and_then(|value| value.to_str().ok());
        context.priority = priority.map_or(Priority::Normal, Priority::from_label).min(Priority::Normal);
        context.deadline = Deadline::from_headers(given);
    } else if request.method() == Method::POST {
        // The time that a gRPC client gives itself can harm nobody else.
        context.deadline = grpc_timeout(given).map(Deadline::after);
    }
    context
}
