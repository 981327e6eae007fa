//! Browsers that watch an order: its timeline, sent each time that it moves.
//!
//! Orders is asked again and again. A request that waits there for the next move would be one slow call after the other
//! to everything that measures calls: balancing, ejection, traces.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use madang::{
    Resources,
    axum::response::sse::{Event, KeepAlive, Sse},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::{Config, order::Order, pages, peers::Peers};

/// The longest time between two looks at an order.
const SLOWEST: Duration = Duration::from_secs(2);
/// How soon a browser comes back when the stream breaks, as it does when this process is replaced.
const COME_BACK: Duration = Duration::from_millis(500);

/// Those who watch an order.
#[derive(Debug, Clone)]
pub struct Live {
    places: Arc<Semaphore>,
    look: Duration,
}

/// Somebody who watches an order.
struct Watch {
    peers: Peers,
    resources: Resources,
    id: i64,
    /// How much of the history was sent.
    sent: usize,
    wait: Duration,
    look: Duration,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// Nobody watches yet.
    pub fn new(config: &Config) -> Self {
        Self { places: Arc::new(Semaphore::new(config.watchers)), look: config.look }
    }

    /// Watches an order until it is over or the process stops; nothing if too many are watched already.
    pub fn watch(
        &self,
        resources: Resources,
        id: i64,
    ) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        // On nobody's behalf: the request that opened the stream has a deadline, which is for its head.
        let peers = Peers::new(resources.calls());
        let (look, wait) = (self.look, Duration::ZERO);
        let watch = Watch { peers, resources, id, sent: 0, wait, look, is_over: false, _place: place };
        Some(Sse::new(stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::default()))
    }
}

impl Watch {
    /// The next move; nothing once the last one was sent.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        loop {
            tokio::select! {
                () = sleep(self.wait) => {}
                () = self.resources.stopping() => return None,
            }
            self.wait = (self.wait * 5 / 4).clamp(self.look, SLOWEST.max(self.look));
            let order = tokio::select! {
                order = self.peers.order(self.id) => order,
                () = self.resources.stopping() => return None,
            };
            // Without an answer the order goes on all the same: the next look tells.
            let Ok(Some(order)) = order else { continue };
            if order.history.len() <= self.sent {
                continue;
            }
            (self.sent, self.wait, self.is_over) = (order.history.len(), self.look, order.status.is_over());
            return Some((Ok(event(&order)), self));
        }
    }
}

/// `moved` with the timeline, or `over` with the last one.
fn event(order: &Order) -> Event {
    let name = if order.status.is_over() { "over" } else { "moved" };
    let timeline = pages::timeline(order).into_string().replace('\r', " ");
    Event::default().event(name).id(order.history.len().to_string()).retry(COME_BACK).data(timeline)
}
