//! The way of a request that waits until it is known whose it is: for the keys of an issuer, or for a session anew.

use std::{pin::pin, sync::Arc};

use http::{HeaderValue, Request, Response, header::SET_COOKIE};
use hyper::body::Incoming;
use madang_calls::{Body, Client, Context};

use super::{
    Asked,
    cached::{Kept, asked_for},
};
use crate::{
    answer::{Asker, Refusal},
    auth::{
        denied::{Denied, Reason},
        guard::{Admission, Pause},
        keyring::Waiting,
    },
    connection::InFlight,
    grpc_web::Web,
    login::{origin, renewal::Renewed, visit::Visit},
    policies::Passage,
    proxies::Told,
    snapshot::Destination,
    tunnel::Switch,
};

/// A request that waits until it is known who it is for.
pub(super) struct Pending {
    client: Client,
    context: Context,
    request: Request<Incoming>,
    told: Option<Box<Told>>,
    switch: Option<Box<Switch>>,
    web: Option<Web>,
    destination: Arc<Destination>,
    pause: Pause,
    passage: Option<Box<Passage>>,
}

impl Asked<'_> {
    pub(super) fn pending(self, destination: Arc<Destination>, pause: Pause) -> Pending {
        let Self { client, context, request, told, switch, web, passage, .. } = self;
        Pending { client: client.clone(), context, request, told, switch, web, destination, pause, passage }
    }
}

impl Pending {
    /// The rest of the way, once it is known who it is for or is not going to be.
    pub(super) async fn answer(
        self: Box<Self>,
        asker: Asker,
        in_flight: &InFlight,
    ) -> (Response<Body>, HeaderValue) {
        let Self { client, context, mut request, told: visitor, switch, web, destination, pause, passage } =
            *self;
        let due = context.deadline.map(|deadline| deadline.0);
        let (in_time, renewed) = match pause {
            Pause::Key(waiting) => (waiting.ended(due).await, None),
            Pause::Session(login, renewing) => {
                let renewed = renewing.ended(due).await;
                renewed.put_into(request.headers_mut(), &login);
                (!matches!(renewed, Renewed::Trouble), Some(renewed))
            }
        };
        let fields = renewed.as_ref().map(Renewed::fields).unwrap_or_default();
        let late = || if renewed.is_some() { Reason::NoIssuer } else { Waiting::late() };
        let connection = in_flight.connection();
        let asked = Asked::new(connection, &client, context, request);
        let mut asked = Asked { told: visitor, web, passage, ..asked };
        let denied = match (asked.admission(&destination, true), &destination.guard) {
            (Some(Admission::Not(_)), Some(guard)) if !in_time => Some(guard.denied(late())),
            (Some(Admission::Wait(_)), Some(guard)) => Some(guard.denied(late())),
            (Some(Admission::Not(denied)), _) => Some(denied),
            _ => None,
        };
        if let (Some(Denied { reason: Reason::Nobody, .. }), Some(login)) = (&denied, &destination.login)
            && origin::is_navigation(asked.request.method(), asked.request.headers())
        {
            let visit = Visit::asked(login, &asked.request);
            let (response, request_id) = asked.visiting(visit).answer(asker).await;
            return (told(response, fields), request_id);
        }
        asked.keep_session(&destination);
        let passed = match denied {
            Some(denied) => Err(asked.refuse(denied)),
            None => asked.pass(),
        };
        let kept = match passed {
            Err(refusal) => Some(Kept::Answers(Box::new(refusal.answer(asker, &asked.context)))),
            Ok(()) => asked.find(&destination),
        };
        let passage = asked.passage.take();
        if let Some(kept) = kept {
            let (answer, request_id) = match kept {
                Kept::Asks(ask) => {
                    let errand = asked.errand(destination, passage.as_deref());
                    asked_for((ask, errand), passage, asker).await
                }
                Kept::Answers(answer) => {
                    let answer = Passage::finished(passage, *answer, asker, &asked.context).await;
                    (answer, asked.context.request_id.0)
                }
            };
            return (told(answer, fields), request_id);
        }
        if let Some(switch) = switch {
            let (response, request_id) =
                asked.switching(switch, destination).answer(asker, in_flight, passage).await;
            return (told(response, fields), request_id);
        }
        let mut call = pin!(asked.call(&destination, passage.as_deref()));
        let answer = call.as_mut().await;
        let context = call.context();
        let problem = |error| Refusal::from(error).answer(asker, context);
        let answer = Passage::finished(passage, answer.unwrap_or_else(problem), asker, context).await;
        (told(answer, fields), context.request_id.0.clone())
    }
}

/// An answer with what the browser is to keep or to forget besides.
fn told(mut response: Response<Body>, fields: &[HeaderValue]) -> Response<Body> {
    for field in fields {
        response.headers_mut().append(SET_COOKIE, field.clone());
    }
    response
}
