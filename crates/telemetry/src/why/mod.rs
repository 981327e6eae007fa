//! Why a request went as it did, and who is to blame.
//!
//! - [`calls`]: who called whom, by the spans of a trace;
//! - [`blame`]: whom that speaks against, and [`refused`] where no service was asked;
//! - [`before`]: what earlier traces say, where a service was not asked any more, and what other traces hide;
//! - [`around`]: what changed, what was logged and how releases behave;
//! - [`words`]: the verdict in words, and what to do next.

mod around;
mod before;
mod blame;
mod calls;
mod refused;
#[cfg(test)]
mod tests;
mod words;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use madang_wire::{
    TraceId,
    trace::TraceView,
    why::{Blame, Certainty, Evidence, Outcome, WhyView},
};

use crate::{Annotations, Logs, Metrics, Traces};
use blame::Finding;
use calls::{Call, Calls};
use madang_store::Error;

/// How long after a request what was told of it may still be on its way, from services that tell it in batches.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// So many times its median a request may take before it took long, and so long whatever the median.
const UNUSUAL: (u64, Duration) = (4, Duration::from_millis(20));

/// Answers the question. Clones ask the same archive.
#[derive(Clone)]
pub struct Why {
    /// The traces.
    pub traces: Traces,
    /// What happened.
    pub annotations: Annotations,
    /// What was logged.
    pub logs: Logs,
    /// How calls went.
    pub metrics: Metrics,
    /// From which duration on a request is slow.
    pub slow: Duration,
}

/// What the manifest says that the answer needs.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// The unit of each service that has one.
    pub units: BTreeMap<String, String>,
    /// The services that each service declares to call.
    pub calls: BTreeMap<String, Vec<String>>,
}

// === impl Why ===

impl Why {
    /// Why the request with this id, or that of its trace, went as it did; none if nothing is kept of it.
    ///
    /// # Errors
    /// If the archive cannot be read.
    pub async fn ask(&self, id: &str, declared: &Declared) -> Result<Option<WhyView>, Error> {
        let Some(trace_id) = self.traces.find(id).await? else { return Ok(None) };
        let Some(mut trace) = self.traces.get(trace_id).await? else { return Ok(None) };
        if let Some(rest) = still_to_come(&trace) {
            // A service that was not heard yet would be blamed for those that it called.
            tokio::time::sleep(rest).await;
            trace = self.traces.get(trace_id).await?.unwrap_or(trace);
        }
        self.explain(trace_id, &trace, declared).await.map(Some)
    }

    async fn explain(
        &self,
        trace_id: TraceId,
        trace: &TraceView,
        declared: &Declared,
    ) -> Result<WhyView, Error> {
        let calls = Calls::of(trace);
        let Some(entry) = calls.entry else { return Ok(words::unseen(trace_id, trace)) };
        let call = &calls.all[entry];
        let (outcome, usual) = self.outcome(call).await?;
        let mut finding = judge(&calls, entry, outcome);
        finding.evidence.extend(usual);
        if let Some(service) = finding.before.take() {
            self.look_back(&mut finding, &service, call.span.start_us, trace_id).await?;
        }
        self.look_beside(&mut finding, &calls, trace_id, declared).await?;
        let (releases, evidence) = self.releases(&finding.blame, call).await?;
        finding.evidence.extend(evidence);
        let (changes, evidence) = self.changes(&finding, call, declared).await?;
        finding.evidence.extend(evidence);
        let logs = self.said(&finding, call, trace_id, declared).await;
        finding.evidence.sort_by_key(|evidence| evidence.at_us);
        let mut unseen = Vec::new();
        unseen.extend(missing(trace, &calls));
        Ok(WhyView {
            trace_id,
            request_id: call.text("madang.request_id").map(str::to_owned),
            name: call.span.name.clone(),
            start_us: call.span.start_us,
            duration_us: call.span.duration_us,
            outcome,
            status: call.status(),
            code: call.code().map(str::to_owned),
            summary: words::summary(outcome, &finding),
            next: words::next(trace_id, outcome, &finding),
            path: finding.path.iter().map(|&place| calls.all[place].step()).collect(),
            shares: blame::shares(&calls, entry),
            blame: finding.blame,
            certainty: finding.certainty,
            evidence: finding.evidence,
            logs,
            changes,
            releases,
            unseen,
        })
    }

    /// What became of a request, and what is usual if it took long.
    async fn outcome(&self, call: &Call<'_>) -> Result<(Outcome, Option<Evidence>), Error> {
        let took = call.span.duration_us;
        if call.status() == 0 && call.code().is_none() && call.number("rpc.grpc.status_code").is_none() {
            return Ok((Outcome::Abandoned, None));
        }
        if call.failed() {
            return Ok((Outcome::Failed, None));
        }
        if (400..500).contains(&call.status()) {
            return Ok((Outcome::Refused, None));
        }
        let usual = self.usual(call).await?;
        let (times, least) = UNUSUAL;
        let unusual =
            usual.is_some_and(|(median, _)| took > median * times && u128::from(took) > least.as_micros());
        if unusual || u128::from(took) >= self.slow.as_micros() {
            let evidence = usual.map(|(median, requests)| {
                let text = format!(
                    "such a request usually takes {} (the median of {requests} in the hour before)",
                    blame::time(median)
                );
                Evidence { at_us: call.span.start_us, span_id: None, text }
            });
            return Ok((Outcome::Slow, evidence));
        }
        Ok((Outcome::Well, None))
    }
}

/// Who is to blame, by the trace alone.
fn judge(calls: &Calls<'_>, entry: usize, outcome: Outcome) -> Finding {
    match outcome {
        Outcome::Failed => blame::of_failure(calls, entry),
        Outcome::Abandoned => blame::of_time(calls, entry),
        Outcome::Slow => of_slowness(calls, entry),
        Outcome::Refused => blame::of_refusal(calls, entry),
        Outcome::Well => blame::of_success(calls, entry),
    }
}

/// Who is to blame for what took long. Where that is not certain by the times, a call that failed on the way says more: what
/// was done about it took time too.
fn of_slowness(calls: &Calls<'_>, entry: usize) -> Finding {
    let mut finding = blame::of_time(calls, entry);
    if finding.certainty != Certainty::Certain {
        let mut failed = blame::of_success(calls, entry);
        if failed.blame != Blame::Nobody {
            weaken(&mut failed, Certainty::Likely);
            failed.evidence.append(&mut finding.evidence);
            finding = failed;
        }
    }
    finding.evidence.extend(blame::again(calls));
    finding
}

/// How long what was told of a trace may still be on its way.
fn still_to_come(trace: &TraceView) -> Option<Duration> {
    let end = trace.spans.iter().map(|span| span.start_us.saturating_add(span.duration_us)).max()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNDER_WAY.checked_sub(now.saturating_sub(Duration::from_micros(end))).filter(|rest| !rest.is_zero())
}

/// What is known to be missing in a trace.
fn missing(trace: &TraceView, calls: &Calls<'_>) -> Vec<String> {
    let mut missing = Vec::new();
    if trace.cut {
        missing.push("the trace has more spans than are looked at".to_owned());
    }
    if calls.orphans > 0 {
        missing
            .push(format!("{} of its calls cannot be told to be made for one of the others", calls.orphans));
    }
    missing
}

/// Who a verdict is about: whoever is to blame, or may be.
fn subjects(blame: &Blame) -> Vec<&str> {
    match blame {
        Blame::Service { service, .. } => vec![service],
        Blame::Fault { callee, .. } => vec![callee],
        Blame::Declaration { caller, .. } => vec![caller],
        Blame::Unknown { suspects } => suspects.iter().map(String::as_str).collect(),
        Blame::Request | Blame::Nobody => Vec::new(),
    }
}

/// Makes a verdict weaker.
fn weaken(finding: &mut Finding, to: Certainty) {
    finding.certainty = finding.certainty.min(to);
}
