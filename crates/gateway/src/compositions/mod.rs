//! Endpoints that are answered from several services: whom they ask, in which order, and what they make of it.
//!
//! A composition is a service that is hosted in this process: its route leads to it as to any other, with the same
//! limits, records and problems, and it calls the others as a service does. `expression` parses what the manifest says
//! in CEL, `address` makes the paths of calls, `plan` finds which calls an answer needs, `gather` makes them, and
//! `answer` is what comes of it.

mod address;
mod answer;
pub(crate) mod expression;
mod gather;
mod plan;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::{cell::RefCell, convert::Infallible, sync::Arc};

use http::{HeaderName, HeaderValue, Request, request::Parts};
use madang_calls::{Body, Client, Context, LocalService};
use madang_model::{Composition, ServiceName, System, manifest::Errors, parameters};
use tower::{service_fn, util::BoxCloneSyncService};

use crate::snapshot::Destination;
use address::Address;
use expression::Compiled;
use plan::Plan;

/// The way of a composition to a service that it asks.
pub(crate) type Ways<'a> = &'a dyn Fn(&ServiceName, &ServiceName) -> Destination;

/// A composition, ready to answer.
pub(crate) struct Ready {
    name: ServiceName,
    /// The parameters of the path, by their places among its segments.
    parameters: Box<[(usize, Box<str>)]>,
    pass: Box<[HeaderName]>,
    calls: Box<[Call]>,
    answers: Box<[Answer]>,
    /// By what the answers differ.
    vary: Option<HeaderValue>,
}

/// A call that it may make.
struct Call {
    name: Box<str>,
    address: Address,
    /// The calls whose answers the address is made of.
    needs: Box<[usize]>,
    optional: bool,
    timeout: Option<std::time::Duration>,
    way: Destination,
}

struct Answer {
    headers: Box<[(HeaderName, HeaderValue)]>,
    shape: Compiled,
    /// The calls that it is made of, and those that these need.
    needs: Box<[bool]>,
    /// Whether it says itself what failed.
    tells_problems: bool,
}

thread_local! {
    /// What the worker of this thread calls with on behalf of compositions.
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
}

/// Has compositions that answer on this thread call with this client.
pub(crate) fn call_with(client: Client) {
    CLIENT.set(Some(client));
}

/// What is wrong with the expressions of a system's compositions; the manifest's own checks know no CEL.
///
/// # Errors
/// Every problem, with its place in the manifest.
pub fn check(system: &System) -> Result<(), Errors> {
    plans(system).map(drop)
}

/// A plan for each composition, or every problem that there is.
fn plans(system: &System) -> Result<Vec<Plan>, Errors> {
    let (mut plans, mut problems) = (Vec::new(), Vec::new());
    for composition in &system.compositions {
        match Plan::of(composition) {
            Ok(plan) => plans.push(plan),
            Err(found) => problems.extend(found),
        }
    }
    Errors::of(problems).map_or(Ok(plans), Err)
}

/// The compositions of a system as services, by their names.
pub(crate) fn ready(system: &System, ways: Ways<'_>) -> Result<Vec<(ServiceName, LocalService)>, Errors> {
    let ready = system.compositions.iter().zip(plans(system)?).map(|(composition, plan)| {
        let ready = Arc::new(Ready::new(composition, plan, ways));
        (composition.name.clone(), ready.service())
    });
    Ok(ready.collect())
}

// === impl Ready ===

impl Ready {
    fn new(composition: &Composition, Plan { calls, answers }: Plan, ways: Ways<'_>) -> Self {
        let calls = calls.into_iter().zip(&composition.calls).map(|((address, needs), call)| Call {
            name: call.name.as_str().into(),
            address,
            needs,
            optional: call.optional,
            timeout: call.timeout,
            way: ways(&composition.name, &call.to),
        });
        let field = |name: &str, value: &str| Some((name.parse().ok()?, value.parse().ok()?));
        let answers = answers.into_iter().zip(&composition.answers).map(|((shape, needs), answer)| Answer {
            headers: answer.headers.iter().filter_map(|it| field(&it.name, &it.value)).collect(),
            tells_problems: shape.names.iter().any(|name| name == "problems"),
            shape,
            needs,
        });
        let vary: Vec<&str> =
            composition.answers.iter().flat_map(|it| &it.headers).map(|it| it.name.as_str()).collect();
        let usual = [String::from("accept-language")];
        let pass = if composition.pass.is_empty() { &usual[..] } else { &composition.pass };
        Self {
            name: composition.name.clone(),
            parameters: parameters(&composition.path).map(|(at, name)| (at, name.into())).collect(),
            pass: pass.iter().filter_map(|name| name.parse().ok()).collect(),
            calls: calls.collect(),
            answers: answers.collect(),
            vary: (!vary.is_empty()).then(|| HeaderValue::try_from(vary.join(", ")).ok()).flatten(),
        }
    }

    fn service(self: Arc<Self>) -> LocalService {
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let ready = self.clone();
            async move {
                let (head, _) = request.into_parts();
                let context = Context::from_headers(&head.headers, true);
                let client = CLIENT.with_borrow(Clone::clone);
                let client = client
                    .expect("the worker of a thread says what is called with before it takes connections");
                Ok::<_, Infallible>(ready.answer(&client, context, &head).await)
            }
        }))
    }

    /// The answer for whoever asks so: the first whose headers it has; the last is for everybody.
    fn answer_for(&self, request: &Parts) -> Option<&Answer> {
        let given = &request.headers;
        let fits =
            |answer: &&Answer| answer.headers.iter().all(|(name, value)| given.get(name) == Some(value));
        self.answers.iter().find(fits)
    }
}
