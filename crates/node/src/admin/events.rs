//! What happened, and what happens.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use futures_util::{Stream, StreamExt, stream};
use madang_telemetry::EventFilter;
use madang_wire::{
    Code, Problem,
    admin::{Event, EventKind},
};
use tokio::sync::broadcast;
use tracing::warn;

use super::{Answer, Shared};
use crate::{
    http::{Failure, lines},
    node::with_causes,
};

/// How many are listed at most.
const MOST: usize = 10_000;

/// Which events are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Params {
    units: Vec<String>,
    kinds: Vec<EventKind>,
    since: Option<u64>,
    until: Option<u64>,
    last: Option<usize>,
    follow: bool,
    recent: bool,
}

/// What happened to units and to calls between services, also before the node started, and what happens: one JSON
/// document a line.
#[utoipa::path(get, path = "/v1/events",
    params(
        ("unit" = Option<Vec<String>>, Query, description = "A unit, or a service where it is about calls; repeatable. All if absent."),
        ("kind" = Option<Vec<EventKind>>, Query, description = "What happened; repeatable. Anything if absent."),
        ("since" = Option<u64>, Query, description = "Only from then on: milliseconds since 1970."),
        ("until" = Option<u64>, Query, description = "Only until then: milliseconds since 1970."),
        ("n" = Option<usize>, Query, description = "How many to begin with, the last ones, up to 10000. If absent 100, all with `since`, and none with `follow` alone."),
        ("recent" = Option<bool>, Query, description = "Begin with what happened since the node started, as far as it remembers."),
        ("follow" = Option<bool>, Query, description = "Go on with what happens.")),
    responses((status = 200, body = Event, content_type = "application/x-ndjson"), (status = 400, body = Problem)))]
pub(super) async fn list(State(node): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer<Response> {
    let params = params(query.as_deref().unwrap_or_default())?;
    let (units, kinds) = (params.units.clone(), params.kinds.clone());
    let chosen = move |event: &Event| {
        (units.is_empty() || units.contains(&event.unit)) && (kinds.is_empty() || kinds.contains(&event.kind))
    };
    if params.recent {
        let (recent, live) = node.journal.read();
        let recent = stream::iter(recent.into_iter().filter(chosen.clone()).collect::<Vec<_>>());
        return Ok(if params.follow { lines(recent.chain(follow(live, chosen))) } else { lines(recent) });
    }
    let (up_to, live) = node.journal.read_on();
    let none = params.follow && params.last.is_none() && params.since.is_none();
    let all = if params.since.is_some() { MOST } else { EventFilter::default().last };
    let filter = EventFilter {
        since: params.since,
        until: params.until,
        units: params.units,
        kinds: params.kinds,
        up_to: Some(up_to),
        last: if none { 0 } else { params.last.unwrap_or(all).min(MOST) },
    };
    let kept = match filter.last {
        0 => Vec::new(),
        _ => node
            .annotations
            .list(filter)
            .await
            .map_err(|error| Failure::from(Problem::new(Code::INTERNAL).detail(with_causes(&error))))?,
    };
    let kept = stream::iter(kept);
    // It ends with the journal, so that the last events are seen too.
    Ok(if params.follow { lines(kept.chain(follow(live, chosen))) } else { lines(kept) })
}

/// Read by hand, because a repeated parameter is a list here.
fn params(query: &str) -> Answer<Params> {
    let mut params = Params::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let bad = |expected: &str| Failure::parameter(&key, expected);
        let flag = || value.parse().map_err(|_| bad("expected true or false"));
        let time = || value.parse().map(Some).map_err(|_| bad("expected milliseconds since 1970"));
        match key.as_ref() {
            "unit" | "service" => params.units.push(value.into_owned()),
            "kind" => {
                let kind = serde_json::from_value(value.as_ref().into());
                params.kinds.push(kind.map_err(|error| bad(&format!("expected a kind of event: {error}")))?);
            }
            "since" => params.since = time()?,
            "until" => params.until = time()?,
            "n" => params.last = Some(value.parse().map_err(|_| bad("expected a number of events"))?),
            "follow" => params.follow = flag()?,
            "recent" => params.recent = flag()?,
            _ => return Err(bad("expected unit, kind, since, until, n, recent or follow")),
        }
    }
    Ok(params)
}

/// A reader too slow to keep up misses the oldest.
fn follow(live: broadcast::Receiver<Event>, chosen: impl Fn(&Event) -> bool) -> impl Stream<Item = Event> {
    stream::unfold((live, chosen), |(mut live, chosen)| async {
        loop {
            match live.recv().await {
                Ok(event) if chosen(&event) => return Some((event, (live, chosen))),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    warn!(missed, "a reader of events was too slow")
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_and_what_is_not_understood_is_named() {
        let read = params("unit=users&kind=breaker_opened&kind=exited&since=5&until=9&n=3&follow=true");
        let expected = Params {
            units: vec!["users".into()],
            kinds: vec![EventKind::BreakerOpened, EventKind::Exited],
            since: Some(5),
            until: Some(9),
            last: Some(3),
            follow: true,
            recent: false,
        };
        assert_eq!(read.ok().unwrap(), expected);
        for (query, field) in [("kind=exploded", "kind"), ("since=now", "since"), ("units=a", "units")] {
            let Err(Failure(problem)) = params(query) else { panic!("accepted {query}") };
            assert_eq!(problem.errors[0].field, field);
        }
    }
}
