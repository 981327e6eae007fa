//! What is laid beside a verdict: what changed before, how the releases behave, and what was logged.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use madang_model::UnitName;
use madang_store::Error;
use madang_wire::{
    TraceId,
    admin::{Event, EventKind},
    log::{LogLevel, LogLine},
    why::{Blame, Evidence, ReleaseView},
};

use super::{
    Declared, Why,
    blame::{Finding, time},
    calls::Call,
    subjects,
};
use crate::{LogFilter, LogQuery, MetricFilter};

/// How long before a request a change may be to have something to do with it, in milliseconds.
const CHANGES: u64 = 10 * 60 * 1000;

/// How long after it an event of it may be told, in milliseconds: an exit is seen after the connection that broke.
const AFTER: u64 = 2_000;

/// An hour, in milliseconds.
const HOUR: u64 = 60 * 60 * 1000;

/// What a call of a release is told to, in milliseconds.
const INTERVAL: u64 = 10 * 1000;

/// From so many requests on there is something usual.
const USUAL: u64 = 50;

/// From so many requests on the share of failed ones says something.
const FEW: u64 = 20;

/// How many lines are shown, the last ones.
const LINES: usize = 20;

/// How many changes are shown, the last ones.
const SHOWN: usize = 15;

impl Why {
    /// The median of the same requests in the hour before, in microseconds, and how many there were; none if they were
    /// too few to say what is usual.
    pub(super) async fn usual(&self, call: &Call<'_>) -> Result<Option<(u64, u64)>, Error> {
        let same = MetricFilter {
            caller: Some(call.caller().to_owned()),
            service: call.callee.map(str::to_owned),
            route: call.text("http.route").map(str::to_owned),
            release: None,
        };
        let start = call.span.start_us / 1000;
        let flow = self.metrics.flow(&same, start.saturating_sub(HOUR), start).await?;
        Ok(flow.p50_us.filter(|_| flow.requests >= USUAL).map(|median| (median, flow.requests)))
    }

    /// How the latest release of whoever is to blame behaved in the hour up to a request, and the one before it in its
    /// last hour.
    pub(super) async fn releases(
        &self,
        blame: &Blame,
        call: &Call<'_>,
    ) -> Result<(Vec<ReleaseView>, Option<Evidence>), Error> {
        let Blame::Service { service, .. } = blame else { return Ok((Vec::new(), None)) };
        let end = call.end_us() / 1000 + 1000;
        let mut spans = self.metrics.releases(service).await?;
        spans.retain(|span| span.first <= end);
        // The one that was called last is the latest, also if it was there before.
        spans.sort_by_key(|span| (std::cmp::Reverse(span.last), std::cmp::Reverse(span.first)));
        let mut views = Vec::new();
        for span in spans.into_iter().take(2) {
            let until = (span.last + INTERVAL).min(end);
            let from = span.first.max(until.saturating_sub(HOUR));
            let filter = MetricFilter {
                service: Some(service.clone()),
                release: Some(span.release.clone()),
                ..MetricFilter::default()
            };
            let flow = self.metrics.flow(&filter, from, until).await?;
            views.push(ReleaseView {
                release: span.release,
                from,
                until,
                requests: flow.requests,
                errors: flow.errors,
                p50_us: flow.p50_us.unwrap_or(0),
                p99_us: flow.p99_us.unwrap_or(0),
            });
        }
        let evidence = compared(service, &views, call.span.start_us);
        Ok((views, evidence))
    }

    /// What whoever is to blame logged in a request; or else in its last moments, as one does that crashes, what it said of
    /// trouble.
    pub(super) async fn said(
        &self,
        finding: &Finding,
        call: &Call<'_>,
        trace: TraceId,
        declared: &Declared,
    ) -> Vec<LogLine> {
        let subjects = subjects(&finding.blame);
        // Of one that others start nothing is known but what it sends itself, under its own name.
        let unit = |service: &str| declared.units.get(service).map_or(service, String::as_str).parse().ok();
        let units = subjects.iter().filter_map(|service| unit(service));
        let units: Vec<UnitName> = units.collect();
        if units.is_empty() {
            return Vec::new();
        }
        let of_it = LogFilter { units: units.clone(), trace: Some(trace), ..LogFilter::default() };
        let lines = self.lines(of_it).await;
        if !lines.is_empty() {
            return lines;
        }
        let end = call.end_us() / 1000;
        self.lines(LogFilter {
            units,
            level: Some(LogLevel::Warn),
            since: Some(end.saturating_sub(AFTER)),
            until: Some(end + AFTER),
            ..LogFilter::default()
        })
        .await
    }

    async fn lines(&self, filter: LogFilter) -> Vec<LogLine> {
        let query = LogQuery { filter, last: LINES, follow: false };
        // A file that cannot be read says nothing, and the others do.
        self.logs.query(query).filter_map(|line| std::future::ready(line.ok())).collect().await
    }

    /// What changed before a request that may have to do with whoever is to blame.
    pub(super) async fn changes(
        &self,
        finding: &Finding,
        call: &Call<'_>,
        declared: &Declared,
    ) -> Result<(Vec<Event>, Vec<Evidence>), Error> {
        let (start, end) = (call.span.start_us / 1000, call.end_us() / 1000);
        let happened = self.annotations.between(start.saturating_sub(CHANGES), end + AFTER).await?;
        let about = named(finding, declared);
        let mut changes: Vec<Event> = happened
            .into_iter()
            .filter(|event| of_the_system(event.kind) || about.contains(event.unit.as_str()))
            .filter(|event| tells(event.kind))
            .collect();
        let older = changes.len().saturating_sub(SHOWN);
        changes.drain(..older);
        let subjects: BTreeSet<&str> =
            subjects(&finding.blame).into_iter().flat_map(|service| with_unit(service, declared)).collect();
        let weighty =
            changes.iter().filter(|event| subjects.contains(event.unit.as_str()) && speaks(event.kind));
        // The last of each kind, since a unit that crashes does so again and again; one that came after the request only
        // if there is none that it could have met.
        let (met, came_after): (Vec<&Event>, Vec<&Event>) = weighty.partition(|event| event.at <= end);
        let mut kinds = Vec::new();
        let mut evidence = Vec::new();
        for event in met.into_iter().rev().chain(came_after) {
            if kinds.contains(&event.kind) {
                continue;
            }
            kinds.push(event.kind);
            evidence.push(Evidence {
                at_us: event.at * 1000,
                span_id: None,
                text: sentence(event, start, end),
            });
        }
        Ok((changes, evidence))
    }
}

/// What two releases say, laid beside each other.
fn compared(service: &str, views: &[ReleaseView], at_us: u64) -> Option<Evidence> {
    let [latest, before] = views else { return None };
    if latest.requests.min(before.requests) < FEW {
        return None;
    }
    let share = |view: &ReleaseView| view.errors as f64 * 100.0 / view.requests as f64;
    let (now, then) = (share(latest), share(before));
    let text = if now >= 5.0 && now >= then * 3.0 {
        format!(
            "{now:.1} % of the calls to {service} fail since the release {}, {then:.1} % with {} before",
            latest.release, before.release
        )
    } else if latest.p50_us > before.p50_us.saturating_mul(3) {
        format!(
            "calls to {service} take {} since the release {}, {} with {} before (medians)",
            time(latest.p50_us),
            latest.release,
            time(before.p50_us),
            before.release
        )
    } else {
        return None;
    };
    Some(Evidence { at_us, span_id: None, text })
}

/// The services and units that changes may be of: whoever is to blame, and whom that calls.
fn named<'a>(finding: &'a Finding, declared: &'a Declared) -> BTreeSet<&'a str> {
    let subjects = subjects(&finding.blame);
    let callees = subjects.iter().filter_map(|service| declared.calls.get(*service)).flatten();
    let all: Vec<&str> = subjects.iter().copied().chain(callees.map(String::as_str)).collect();
    all.into_iter().flat_map(|service| with_unit(service, declared)).collect()
}

fn with_unit<'a>(service: &'a str, declared: &'a Declared) -> impl Iterator<Item = &'a str> {
    std::iter::once(service).chain(declared.units.get(service).map(String::as_str))
}

/// Whether it is about no unit in particular.
fn of_the_system(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Applied
            | EventKind::Degraded
            | EventKind::Recovered
            | EventKind::NodeKilled
            | EventKind::FaultAdded
            | EventKind::FaultRemoved
            | EventKind::FaultExpired
    )
}

/// Whether it tells more than that things go their way.
fn tells(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Building | EventKind::Built | EventKind::Stopping | EventKind::Blocked)
}

/// Whether it speaks against its unit.
fn speaks(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Released
            | EventKind::Exited
            | EventKind::GaveUp
            | EventKind::LeftOut
            | EventKind::Expired
            | EventKind::BreakerOpened
            | EventKind::Ejected
            | EventKind::FaultFired
    )
}

/// What happened and when, seen from a request that began and ended then, in a sentence.
fn sentence(event: &Event, start: u64, end: u64) -> String {
    let who = event.instance.as_deref().unwrap_or(&event.unit);
    let when = match start.checked_sub(event.at) {
        Some(0) | None if event.at <= end => "during the request".to_owned(),
        Some(0) | None => format!("{} ms after the request", event.at - end),
        Some(before @ ..1_000) => format!("{before} ms before"),
        Some(before @ ..120_000) => format!("{:.1} s before", before as f64 / 1e3),
        Some(before) => format!("{} min before", before / 60_000),
    };
    let first = event.headline();
    let what = match event.kind {
        EventKind::Released => "became the release in use",
        EventKind::Exited => "exited",
        EventKind::GaveUp => "was given up",
        EventKind::LeftOut => "was left out",
        EventKind::Expired => "did not renew its lease",
        EventKind::BreakerOpened => "was not called any more",
        EventKind::Ejected => "was taken out of use",
        EventKind::FaultFired => "was killed by a fault",
        _ => "changed",
    };
    match event.release.as_deref().filter(|_| event.kind == EventKind::Released) {
        Some(release) => format!("{when}, the release {release} of {who} {what}"),
        None if first.is_empty() => format!("{when}, {who} {what}"),
        None => format!("{when}, {who} {what}: {first}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_before_a_request_within_it_or_after_it() {
        let check = |at: u64, expected: &str| {
            let event = serde_json::from_value(serde_json::json!({
                "at": at, "unit": "payments", "instance": null, "kind": "breaker_opened", "message": "5 of 5 failed"
            }));
            let said = sentence(&event.unwrap(), 200_000, 200_050);
            assert_eq!(said, format!("{expected}, payments was not called any more: 5 of 5 failed"));
        };
        check(79_000, "2 min before");
        check(198_500, "1.5 s before");
        check(199_991, "9 ms before");
        check(200_000, "during the request");
        check(200_050, "during the request");
        check(200_058, "8 ms after the request");
    }
}
