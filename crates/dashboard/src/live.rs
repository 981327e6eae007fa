//! Pages that follow what happens: server-sent events with those parts of a page that are not what they were, or with
//! the lines that come.
//!
//! The number of streams is bounded, and one whose reader does not take what it is sent gives its place up.

use std::{collections::HashMap, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt, stream};
use http::header;
use madang_wire::{Code, PROBLEM_JSON, Problem, log::LogLine};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{Dashboard, pages, query::Query, session::Session};

/// How many pages may follow at once.
const MOST: usize = 32;

/// How often the parts of a page are made anew.
const EACH: Duration = Duration::from_secs(1);

/// How long a reader may leave what it is sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many lines are sent at once at most; of more that come meanwhile the reader sees the number.
const LINES: usize = 200;

/// The places for streams.
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Streams {
    /// A place, if there is one.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

fn full() -> Response {
    let said = format!("{MOST} pages follow already: close one, or load this one again to see what is new");
    let problem = Problem::new(Code::TOO_MANY_FOLLOW).detail(said);
    let headers = [(header::CONTENT_TYPE, PROBLEM_JSON), (header::RETRY_AFTER, "5")];
    (problem.status_code(), headers, problem.to_json()).into_response()
}

/// The parts of a page, `?of=/services`, as they change.
pub(crate) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Response {
    let Some(place) = dashboard.streams.take() else { return full() };
    let asked = Query::new(request.uri().query().unwrap_or_default());
    let of = asked.get("of").unwrap_or("/").to_owned();
    let (path, query) = of.split_once('?').unwrap_or((&of, ""));
    let (path, query, api) = (path.to_owned(), Query::new(query), dashboard.api.of(&session));
    let (sender, receiver) = mpsc::channel(1);
    let ends = dashboard.ends.clone();
    tokio::spawn(async move {
        let _place = place;
        let following = async {
            let mut sent: HashMap<&'static str, String> = HashMap::new();
            let mut ticks = interval(EACH);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // Also where nothing changes: who left is found out by it.
                if sender.is_closed() {
                    return;
                }
                let Ok(page) = pages::render(&api, &path, &query).await else { continue };
                for part in page.parts {
                    let content = part.content.into_string();
                    if sent.get(part.id) != Some(&content) {
                        let event = Event::default().event("part").id(part.id).data(&content);
                        if send(&sender, event).await.is_none() {
                            return;
                        }
                        sent.insert(part.id, content);
                    }
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = ends.cancelled() => {}
        }
    });
    answer(receiver)
}

/// The lines of logs as they come; the parameters are those of the page.
pub(crate) async fn logs(
    State(dashboard): State<Dashboard>,
    Extension(session): Extension<Session>,
    request: Request,
) -> Response {
    let Some(place) = dashboard.streams.take() else { return full() };
    let query = Query::new(request.uri().query().unwrap_or_default());
    let api = dashboard.api.of(&session);
    let asked = pages::logs::Filter::of(&query).question(0, true);
    let lines = match api.follow::<LogLine>(&asked).await {
        Ok(lines) => lines,
        Err(trouble) => return (trouble.status, trouble.detail).into_response(),
    };
    let (sender, receiver) = mpsc::channel(1);
    let ends = dashboard.ends.clone();
    tokio::spawn(async move {
        let _place = place;
        let following = async {
            // What has come is sent together: a line by itself would cost the browser a turn each.
            let mut lines = pin!(lines.ready_chunks(4096));
            loop {
                let come = tokio::select! {
                    come = lines.next() => come,
                    () = sender.closed() => return,
                };
                let Some(come) = come else { return };
                let skipped = come.len().saturating_sub(LINES);
                let rows = pages::logs::rows(&come[skipped..], skipped).into_string();
                if send(&sender, Event::default().event("lines").data(rows)).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = ends.cancelled() => {}
        }
    });
    answer(receiver)
}

async fn send(sender: &mpsc::Sender<Event>, event: Event) -> Option<()> {
    timeout(PATIENCE, sender.send(event)).await.ok()?.ok()
}

fn answer(receiver: mpsc::Receiver<Event>) -> Response {
    Sse::new(events(receiver)).keep_alive(KeepAlive::default()).into_response()
}

fn events(receiver: mpsc::Receiver<Event>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|event| (Ok(event), receiver))
    })
}

#[cfg(test)]
mod tests;
