//! The way of a request past the cache, or into it.

use std::sync::Arc;

use http::{HeaderValue, Response};
use madang_calls::Body;

use super::{Asked, Stop};
use crate::{
    answer::{Asker, Refusal},
    cache::{Ask, Errand, Looked},
    policies::Passage,
    snapshot::Destination,
};

/// What the cache does with a request.
pub(super) enum Kept {
    Answers(Box<Response<Body>>),
    Asks(Box<Ask>),
}

impl Asked<'_> {
    /// Ends the way here if it is the cache's concern.
    pub(super) fn recall(&mut self, destination: &Arc<Destination>) -> Result<(), Stop> {
        self.find(destination).map_or(Ok(()), |kept| Err(Stop::Kept(kept, destination.clone())))
    }

    /// What the cache does with it. Streams pass.
    pub(super) fn find(&mut self, destination: &Arc<Destination>) -> Option<Kept> {
        let passage = self.passage.as_ref().filter(|_| self.switch.is_none() && !destination.speaks_grpc)?;
        let mut found = match passage.look(&self.request, self.known.is_some())? {
            Looked::Found(found) => found,
            Looked::Asks(ask) => return Some(Kept::Asks(ask)),
            Looked::NotKept => {
                let answer = self.refuse(Refusal::NotKept).answer(Asker::of(&self.request), &self.context);
                return Some(Kept::Answers(Box::new(answer)));
            }
        };
        let answered = (self.request.method(), found.answer.status().as_u16());
        self.client.record_cached(&self.context, &destination.lane, answered, found.used, found.asked);
        found.refreshed(&self.request, |head| {
            let (client, context) = (self.client.clone(), self.context.clone());
            Errand { client, context, head, body: Body::empty(), destination: destination.clone() }
        });
        Some(Kept::Answers(Box::new(found.answer)))
    }

    pub(super) fn errand(self, destination: Arc<Destination>, passage: Option<&Passage>) -> Errand {
        let (client, context, head, body) = self.sent(passage);
        Errand { client: client.clone(), context, head, body, destination }
    }
}

/// What the service says that is asked for the cache.
pub(super) async fn asked_for(
    (ask, errand): (Box<Ask>, Errand),
    passage: Option<Box<Passage>>,
    asker: Asker,
) -> (Response<Body>, HeaderValue) {
    let context = errand.context.clone();
    let answer = ask.answer(errand).await;
    let answer = answer.unwrap_or_else(|error| Refusal::from(error).answer(asker, &context));
    (Passage::finished(passage, answer, asker, &context).await, context.request_id.0)
}
