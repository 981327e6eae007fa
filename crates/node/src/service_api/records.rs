//! What instances know of their own calls: it comes in here, and goes the way of what the gateway and the doors saw.
//!
//! Whose calls they are follows from the sender's token. What a record says besides is believed within bounds: none
//! of it names a route, and its texts are as short as Madang's own.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Json, body::Bytes, extract::State};
use http::HeaderMap;
use madang_model::{InstanceId, ServiceName};
use madang_wire::{
    Code, Hop, Problem, RequestRecord,
    admin::{Event, EventKind},
    service::{Records, RecordsTaken},
};

use super::ServiceApi;
use crate::{http::Failure, node::now, tokens::Bearer};

/// The largest request, in bytes: more than the SDK sends at once.
pub(super) const LARGEST: usize = 4 * 1024 * 1024;

/// How many records wait until they are drained, which happens four times a second.
const MOST: usize = 64 * 1024;

/// The longest text of a record, in bytes: ids of instances are the longest that there are.
const LONGEST: usize = 128;

/// How many changes are taken at once, and how much of what each says, in bytes.
const EVENTS: usize = 256;
const SAID: usize = 512;

/// No call began earlier than so many milliseconds ago, or later than now.
const EARLIEST: u64 = 60 * 60 * 1000;

/// Records of instances that wait to be drained. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    records: Vec<RequestRecord>,
    dropped: u64,
}

/// Takes what an instance knows of the calls that it made itself.
#[utoipa::path(post, path = "/v1/records", tag = "records", request_body = Records,
    responses((status = 200, body = RecordsTaken), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 413, body = Problem)))]
pub(super) async fn records(
    State(api): State<ServiceApi>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<RecordsTaken>, Failure> {
    let bearer = api.bearer(&headers)?;
    let Records { records, dropped, events, events_dropped } =
        serde_json::from_slice(&body).map_err(|error| {
            Failure::from(
                Problem::new(Code::BAD_PARAMETER).field("body", format!("is not a list of records: {error}")),
            )
        })?;
    let (sender, hosted) = api.hosted(&bearer);
    let sender = match &bearer {
        Bearer::Instance { instance, .. } => instance.to_string(),
        Bearer::Unit(_) | Bearer::Service(_) => sender,
    };
    changed(&api, &sender, &hosted, events, events_dropped);
    Ok(Json(api.inbox.take_in(records, dropped, &hosted)))
}

/// Records what changed in how those answer that the services call.
fn changed(
    api: &ServiceApi,
    sender: &str,
    hosted: &BTreeSet<ServiceName>,
    mut events: Vec<Event>,
    dropped: u64,
) {
    let system = api.system.borrow().clone();
    let callees: BTreeSet<&str> = hosted
        .iter()
        .filter_map(|service| system.services.get(service))
        .flat_map(|service| service.calls.keys().map(ServiceName::as_str))
        .chain(hosted.iter().map(ServiceName::as_str))
        .collect();
    let sent = events.len();
    events.truncate(EVENTS);
    let now = now();
    let believed: Vec<Event> = events
        .into_iter()
        .filter_map(|event| believed_change(event, &callees, sender, now))
        .map(|event| {
            let release = event.instance.as_deref().and_then(|id| api.intake.release(&InstanceId(id.into())));
            Event { release, ..event }
        })
        .collect();
    let refused = (sent - believed.len()) as u64;
    api.journal.missed(refused.saturating_add(dropped));
    believed.into_iter().for_each(|event| api.journal.record(event));
}

/// A change as far as it is believed, with who saw it; none if it is of a kind that the node knows itself, or of a service
/// that the sender does not call.
fn believed_change(event: Event, callees: &BTreeSet<&str>, sender: &str, now: u64) -> Option<Event> {
    use EventKind::{BreakerClosed, BreakerHalfOpen, BreakerOpened, Ejected, Returned};
    let of_instance = match event.kind {
        BreakerOpened | BreakerHalfOpen | BreakerClosed => false,
        Ejected | Returned => true,
        _ => return None,
    };
    let instance = event.instance.filter(|instance| of_instance && instance.len() <= LONGEST);
    if !callees.contains(&*event.unit) || of_instance != instance.is_some() {
        return None;
    }
    let mut message: String = event.message.chars().filter(|char| !char.is_control()).collect();
    message.truncate(message.floor_char_boundary(SAID));
    Some(Event {
        at: event.at.clamp(now.saturating_sub(EARLIEST), now),
        instance,
        release: None,
        message: format!("{message} (as {sender} has it)"),
        ..event
    })
}

// === impl Inbox ===

impl Inbox {
    /// Takes in the records of calls by these services.
    fn take_in(
        &self,
        records: Vec<RequestRecord>,
        dropped: u64,
        hosted: &BTreeSet<ServiceName>,
    ) -> RecordsTaken {
        let now = now();
        let mut outcome = RecordsTaken::default();
        let mut waiting = self.waiting();
        for record in records {
            match believed(record, hosted, now).filter(|_| waiting.records.len() < MOST) {
                Some(record) => {
                    waiting.records.push(record);
                    outcome.taken += 1;
                }
                None => outcome.refused += 1,
            }
        }
        waiting.dropped = waiting.dropped.saturating_add(outcome.refused).saturating_add(dropped);
        outcome
    }

    /// Takes out what waits.
    pub(crate) fn drain(&self) -> Vec<RequestRecord> {
        mem::take(&mut self.waiting().records)
    }

    /// How many calls are not known of: those that instances lost, and those that found no place here.
    pub(crate) fn dropped(&self) -> u64 {
        self.waiting().dropped
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record as far as it is believed; none if the caller is not one of those.
fn believed(record: RequestRecord, hosted: &BTreeSet<ServiceName>, now: u64) -> Option<RequestRecord> {
    let own = |caller: &Arc<str>| hosted.contains(&**caller);
    let short = |text: &Arc<str>| text.len() <= LONGEST;
    if !record.caller.as_ref().is_some_and(own) || !short(&record.method) || record.service.is_none() {
        return None;
    }
    Some(RequestRecord {
        hop: Hop::Sdk,
        at: record.at.clamp(now.saturating_sub(EARLIEST), now),
        at_us: record.at_us.min(999),
        route: None,
        service: record.service.filter(short),
        instance: record.instance.filter(short),
        release: record.release.filter(short),
        code: record.code.filter(short),
        fault: record.fault.filter(short),
        ..record
    })
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, response::Response};
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::*;
    use crate::service_api::fixture::fixture;

    fn record(caller: &str) -> Value {
        json!({"at": now(), "hop": "gateway", "request_id": "abc", "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "span_id": "00f067aa0ba902b7", "route": "/made/up", "caller": caller, "service": "users",
            "instance": "users-a", "method": "GET", "status": 200, "code": null, "attempts": 1,
            "duration_us": 5, "upstream_us": 4, "parked_us": 0})
    }

    async fn outcome(answer: Response) -> RecordsTaken {
        assert_eq!(answer.status(), StatusCode::OK);
        serde_json::from_slice(&to_bytes(answer.into_body(), 999).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn records_are_those_of_who_sends_them_whatever_they_say() {
        let fixture = fixture().await;
        let mut late = record("orders");
        late["at"] = json!(u64::MAX);
        late["instance"] = json!("x".repeat(LONGEST + 1));
        let body = json!({"records": [record("orders"), record("users"), late], "dropped": 7}).to_string();
        let answer = fixture.send("POST", "/v1/records", &fixture.token("orders"), &body).await;
        assert_eq!(outcome(answer).await, RecordsTaken { taken: 2, refused: 1 });
        assert_eq!(fixture.inbox.dropped(), 8);
        let drained = fixture.inbox.drain();
        assert_eq!(drained.len(), 2);
        assert_eq!((drained[0].hop, &drained[0].route), (Hop::Sdk, &None));
        assert_eq!(
            (drained[0].caller.as_deref(), drained[0].instance.as_deref()),
            (Some("orders"), Some("users-a"))
        );
        assert!(drained[1].at <= now() && drained[1].instance.is_none());
        assert!(fixture.inbox.drain().is_empty());
    }

    #[tokio::test]
    async fn strangers_and_nonsense_are_refused() {
        let fixture = fixture().await;
        let body = json!({ "records": [record("orders")] }).to_string();
        let stranger = fixture.send("POST", "/v1/records", "orders/orders-a/00", &body).await;
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
        for nonsense in ["", "[]", r#"{"records": [{}]}"#] {
            let answer = fixture.send("POST", "/v1/records", &fixture.token("orders"), nonsense).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{nonsense}");
        }
        let large = " ".repeat(LARGEST + 1);
        let answer = fixture.send("POST", "/v1/records", &fixture.token("orders"), &large).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(fixture.inbox.drain().is_empty());
    }

    #[tokio::test]
    async fn changes_are_events_of_whom_the_sender_calls_and_of_nobody_else() {
        let fixture = fixture().await;
        let change = |kind: &str, unit: &str, instance: Option<&str>| {
            json!({"at": u64::MAX, "unit": unit, "instance": instance, "release": "made up", "kind": kind,
                "message": "calls of orders\n: of 5 answers 5 failed"})
        };
        let events = json!([
            change("breaker_opened", "users", None),
            change("ejected", "users", Some("users-a")),
            change("ejected", "users", None),
            change("exited", "users", None),
            change("breaker_opened", "pos", None),
        ]);
        let body = json!({"records": [], "events": events, "events_dropped": 4}).to_string();
        let answer = fixture.send("POST", "/v1/records", &fixture.token("orders"), &body).await;
        assert_eq!(outcome(answer).await, RecordsTaken::default());
        let said = "calls of orders: of 5 answers 5 failed (as orders-a has it)";
        let expected = [format!("users  BreakerOpened: {said}"), format!("users users-a Ejected: {said}")];
        assert_eq!(fixture.events(), expected);
        let (events, _) = fixture.journal.read();
        assert!(events[0].at <= now() && events[0].release.is_none(), "{events:?}");
        assert_eq!(events[1].release.as_deref(), Some("release of users-a"));
        assert_eq!(fixture.journal.lost(), 3 + 4);
    }

    #[tokio::test]
    async fn a_flood_is_bounded_and_counted() {
        let hosted = BTreeSet::from(["orders".parse().unwrap()]);
        let record: RequestRecord = serde_json::from_value(record("orders")).unwrap();
        let inbox = Inbox::default();
        let outcome = inbox.take_in(vec![record; MOST + 3], 0, &hosted);
        assert_eq!((outcome, inbox.dropped()), (RecordsTaken { taken: MOST as u64, refused: 3 }, 3));
    }
}
