//! What other traces say: those before, where a service was not asked any more because of them, and those beside, in
//! which calls may be that do not carry the trace on.

use std::collections::BTreeMap;

use madang_wire::{
    Code, TraceId,
    why::{Blame, Certainty, Evidence},
};

use super::{Declared, Why, blame, blame::Finding, calls::Calls, weaken};
use crate::TraceFilter;
use madang_store::Error;

/// How far it is looked back, in microseconds.
const BACK: u64 = 5 * 60 * 1_000_000;

/// At how many traces.
const TRACES: u32 = 20;

impl Why {
    /// Asks the traces before for whom the calls to a service failed, and blames whom they agree on.
    pub(super) async fn look_back(
        &self,
        finding: &mut Finding,
        service: &str,
        start_us: u64,
        this: TraceId,
    ) -> Result<(), Error> {
        let failed = TraceFilter {
            error: true,
            service: Some(service.to_owned()),
            before_us: Some(start_us),
            limit: TRACES,
            ..TraceFilter::default()
        };
        let mut votes: BTreeMap<String, (u32, Blame)> = BTreeMap::new();
        let mut cast = 0;
        for summary in self.traces.list(failed).await?.traces {
            if summary.trace_id == this || summary.start_us + BACK < start_us {
                continue;
            }
            let Some(trace) = self.traces.get(summary.trace_id).await? else { continue };
            let calls = Calls::of(&trace);
            let refused = [Code::OPEN, Code::OVERLOADED].map(|code| code.id);
            let asked = (0..calls.all.len()).filter(|&place| {
                let call = &calls.all[place];
                call.callee == Some(service)
                    && call.failed()
                    && call.code().is_none_or(|code| !refused.contains(&code))
            });
            for place in asked {
                let found = blame::of_failure(&calls, place);
                if let (None, Blame::Service { service, .. }) = (&found.before, &found.blame) {
                    cast += 1;
                    votes.entry(service.clone()).or_insert((0, found.blame.clone())).0 += 1;
                } else if let Blame::Fault { id, .. } = &found.blame {
                    cast += 1;
                    votes.entry(format!("the fault {id}")).or_insert((0, found.blame.clone())).0 += 1;
                }
            }
        }
        let Some((name, (most, blame))) = votes.iter().max_by_key(|(_, (count, _))| *count) else {
            weaken(finding, Certainty::Likely);
            return Ok(());
        };
        let text = format!(
            "of {cast} failed calls to {service} in the five minutes before, {most} failed because of {name}"
        );
        finding.evidence.push(Evidence { at_us: start_us, span_id: None, text });
        if *most == cast {
            finding.blame = blame.clone();
            finding.because = match name == service {
                true => format!("{}, each time because of itself", finding.because),
                false => format!("failed before, so that {service} failed and was not asked any more"),
            };
        } else if most * 5 < cast * 4 {
            let suspects = votes.keys().cloned().collect();
            finding.blame = Blame::Unknown { suspects };
            finding.certainty = Certainty::None;
        }
        Ok(())
    }

    /// Looks for failed calls of a service that were made at the time but in other traces, if it may be one that does not
    /// carry the trace on. What cannot be seen must not be blamed on it.
    pub(super) async fn look_beside(
        &self,
        finding: &mut Finding,
        calls: &Calls<'_>,
        this: TraceId,
        declared: &Declared,
    ) -> Result<(), Error> {
        let (Some(&place), Blame::Service { service, .. }) = (finding.path.last(), &finding.blame) else {
            return Ok(());
        };
        let call = &calls.all[place];
        let callees = declared.calls.get(service).filter(|callees| !callees.is_empty());
        let (Some(callees), true) = (callees, call.callee == Some(service)) else { return Ok(()) };
        // It was never reached, or it is one that is heard of.
        let told = call.handler.is_some() || calls.children(place).next().is_some();
        let reached = call.code().is_none_or(|code| code == Code::TIMEOUT.id);
        if told || !reached {
            return Ok(());
        }
        let service = service.clone();
        let failed = self.traces.failed_calls(&service, call.span.start_us, call.end_us(), this).await?;
        let failed: Vec<String> = failed.into_iter().filter(|callee| callees.contains(callee)).collect();
        if failed.is_empty() {
            weaken(finding, Certainty::Likely);
            return Ok(());
        }
        let text = format!(
            "while {service} answered, calls of it to {} failed in traces of their own: it does not carry the trace on, so \
             that they may have been made for this request or for another",
            failed.join(" and ")
        );
        finding.evidence.push(Evidence { at_us: call.end_us(), span_id: Some(call.span.span_id), text });
        finding.because = "its own calls cannot be seen".to_owned();
        finding.blame = Blame::Unknown { suspects: std::iter::once(service).chain(failed).collect() };
        finding.certainty = Certainty::None;
        Ok(())
    }
}
