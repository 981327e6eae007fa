//! Annotations over restarts, and what is asked of them.

use std::path::Path;

use madang_wire::admin::EventKind;

use super::*;
use crate::ArchiveConfig;

async fn open(folder: &Path) -> Annotations {
    let archive = Archive::open(&folder.join("telemetry.db"), ArchiveConfig::default()).await.unwrap();
    Annotations::open(&archive).await.unwrap()
}

fn event(at: u64, unit: &str, kind: EventKind) -> Event {
    Event { at, unit: unit.into(), instance: None, release: Some("r1".into()), kind, message: "m".into() }
}

/// Now, so that nothing is too old to be kept.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

async fn times(annotations: &Annotations, filter: EventFilter, from: u64) -> Vec<u64> {
    annotations.list(filter).await.unwrap().iter().map(|event| event.at - from).collect()
}

#[tokio::test]
async fn an_event_is_seen_at_once_and_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let from = now();
    let first = open(folder.path()).await;
    first.record(&event(from, "users", EventKind::Started));
    first.flush().await.unwrap();
    let number = first.record(&event(from + 1, "users", EventKind::Ready));
    assert_eq!(number, 2);
    assert_eq!(times(&first, EventFilter::default(), from).await, [0, 1], "one written, one waiting");
    first.flush().await.unwrap();
    assert_eq!(times(&first, EventFilter::default(), from).await, [0, 1], "none twice");
    drop(first);

    let second = open(folder.path()).await;
    assert_eq!(second.record(&event(from + 2, "users", EventKind::Exited)), 3);
    let all = second.list(EventFilter::default()).await.unwrap();
    assert_eq!(all[0], event(from, "users", EventKind::Started));
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn events_are_chosen_by_time_unit_kind_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let annotations = open(folder.path()).await;
    let from = now();
    for (at, unit, kind) in [
        (0, "users", EventKind::Ready),
        (1, "orders", EventKind::BreakerOpened),
        (2, "users", EventKind::Exited),
        (3, "orders", EventKind::Ready),
    ] {
        annotations.record(&event(from + at, unit, kind));
        if at == 1 {
            annotations.flush().await.unwrap();
        }
    }
    let all = EventFilter::default();
    let shown = |filter| times(&annotations, filter, from);
    assert_eq!(shown(EventFilter { units: vec!["orders".into()], ..all.clone() }).await, [1, 3]);
    assert_eq!(shown(EventFilter { kinds: vec![EventKind::Ready], ..all.clone() }).await, [0, 3]);
    assert_eq!(shown(EventFilter { since: Some(from + 2), ..all.clone() }).await, [2, 3]);
    assert_eq!(shown(EventFilter { until: Some(from + 1), ..all.clone() }).await, [0, 1]);
    assert_eq!(shown(EventFilter { up_to: Some(3), last: 2, ..all }).await, [1, 2]);
    let between = annotations.between(from + 1, from + 2).await.unwrap();
    assert_eq!(between.iter().map(|event| event.at - from).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn what_waits_is_bounded_and_what_found_no_room_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let annotations = open(folder.path()).await;
    let from = now();
    for at in 0..WAITING as u64 + 2 {
        annotations.record(&event(from + at, "users", EventKind::Ready));
    }
    assert_eq!(annotations.lost(), 2);
    let filter = EventFilter { last: usize::MAX, ..Default::default() };
    assert_eq!(times(&annotations, filter, from).await.first(), Some(&2));
}
