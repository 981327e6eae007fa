//! The way of a request after which something else than HTTP is spoken.

use std::{pin::pin, sync::Arc};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use madang_calls::{Body, Client, Context};

use super::Asked;
use crate::{
    answer::{Asker, Refusal},
    connection::InFlight,
    policies::Passage,
    snapshot::Destination,
    tunnel::{Room, Switch},
};

/// A request after which something else is spoken.
pub(super) struct Switching {
    client: Client,
    context: Context,
    request: Request<Incoming>,
    switch: Box<Switch>,
    destination: Arc<Destination>,
}

impl Asked<'_> {
    pub(super) fn switching(self, switch: Box<Switch>, destination: Arc<Destination>) -> Box<Switching> {
        let Self { client, context, request, .. } = self;
        Box::new(Switching { client: client.clone(), context, request, switch, destination })
    }
}

impl Switching {
    /// What the service says to speaking something else, or why it is not asked.
    pub(super) async fn answer(
        self: Box<Self>,
        asker: Asker,
        in_flight: &InFlight,
        passage: Option<Box<Passage>>,
    ) -> (Response<Body>, HeaderValue) {
        let Self { client, context, request, switch, destination } = *self;
        let connection = in_flight.connection();
        let Some(room) = Room::take(&connection.worker) else {
            let asked = Asked::new(connection, &client, context, request);
            let (refusal, context) = (asked.refuse(Refusal::Tunnels), asked.context);
            let answer = Passage::finished(passage, refusal.answer(asker, &context), asker, &context).await;
            return (answer, context.request_id.0);
        };
        let Destination { lane, policy, .. } = &*destination;
        let (head, _) = request.into_parts();
        let mut call = pin!(client.call_switching(context, lane, policy, head, switch.protocol.clone()));
        let answer =
            switch.answer(room, call.as_mut(), lane.upstream().name(), in_flight, policy.idle_timeout).await;
        let context = call.context();
        let problem = |refusal: Refusal| refusal.answer(asker, context);
        let answer = Passage::finished(passage, answer.unwrap_or_else(problem), asker, context).await;
        (answer, context.request_id.0.clone())
    }
}
