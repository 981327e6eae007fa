//! The verdict in words, and what to do next.

use madang_wire::{
    TraceId,
    trace::TraceView,
    why::{Blame, Certainty, Outcome, Suggestion, WhyView},
};

use super::blame::Finding;

/// The verdict in a sentence.
pub(super) fn summary(outcome: Outcome, finding: &Finding) -> String {
    let Finding { blame, certainty, because, .. } = finding;
    let sure = match certainty {
        Certainty::Certain => "",
        Certainty::Likely => "probably ",
        Certainty::None => "perhaps ",
    };
    match blame {
        Blame::Service { service, release: Some(release), .. } => {
            format!("{sure}{service} (release {release}): it {because}")
        }
        Blame::Service { service, .. } => format!("{sure}{service}: it {because}"),
        Blame::Fault { id, caller, callee } => {
            format!("{sure}the fault {id} on the calls of {caller} to {callee}, which {because}")
        }
        Blame::Declaration { caller, callee } => {
            format!("{sure}the manifest: {callee} {because} among the calls of {caller}")
        }
        Blame::Request => format!("{sure}the request itself: {because}"),
        Blame::Nobody => because.clone(),
        Blame::Unknown { suspects } if suspects.is_empty() => format!("it cannot be told: {because}"),
        Blame::Unknown { suspects } => {
            let what = if outcome == Outcome::Slow {
                "which of them was slow"
            } else {
                "which of them failed first"
            };
            format!("{}: it cannot be told {what}: {because}", suspects.join(" or "))
        }
    }
}

/// What to do next.
pub(super) fn next(trace: TraceId, outcome: Outcome, finding: &Finding) -> Vec<Suggestion> {
    let mut next = Vec::new();
    let mut add = |command: String, why: &str| next.push(Suggestion { command, why: why.to_owned() });
    match &finding.blame {
        Blame::Service { service, .. } => {
            add(format!("madang logs {service} --trace {trace}"), "what it logged in this request");
            add(format!("madang describe {service}"), "whether it is well now");
            match outcome {
                Outcome::Slow => add(
                    format!("madang traces --slow 200ms --service {service}"),
                    "whether others are slow too",
                ),
                _ => add(format!("madang traces --error --service {service}"), "whether others fail too"),
            }
        }
        Blame::Fault { id, .. } if id == "manifest" => {
            add("madang check --explain".to_owned(), "where it is declared")
        }
        Blame::Fault { id, .. } => add(format!("madang fault rm {id}"), "ends the fault"),
        Blame::Declaration { caller, callee } => {
            let why = format!("once {callee} is among the `calls` of {caller}");
            add("madang check".to_owned(), &why);
        }
        Blame::Unknown { suspects } => {
            let all = suspects.join(" ");
            add(format!("madang logs --trace {trace}"), "what all of them logged in this request");
            if !suspects.is_empty() {
                add(format!("madang events --since 15m {all}"), "what happened to them");
            }
        }
        Blame::Request => add("madang routes".to_owned(), "which routes there are, and what each asks for"),
        Blame::Nobody => {}
    }
    add(format!("madang trace {trace}"), "every call of the request");
    next
}

/// What can be said of a trace in which Madang saw no call.
pub(super) fn unseen(trace_id: TraceId, trace: &TraceView) -> WhyView {
    let first = trace.spans.first();
    let failed = trace.spans.iter().any(|span| span.error);
    let finding = Finding {
        blame: if failed { Blame::Unknown { suspects: Vec::new() } } else { Blame::Nobody },
        certainty: Certainty::None,
        because: if failed { "Madang saw no call of this trace" } else { "nothing in it failed" }.to_owned(),
        path: Vec::new(),
        evidence: Vec::new(),
        before: None,
    };
    let outcome = if failed { Outcome::Failed } else { Outcome::Well };
    WhyView {
        trace_id,
        request_id: None,
        name: first.map(|span| span.name.clone()).unwrap_or_default(),
        start_us: first.map(|span| span.start_us).unwrap_or_default(),
        duration_us: first.map(|span| span.duration_us).unwrap_or_default(),
        outcome,
        status: 0,
        code: None,
        summary: summary(outcome, &finding),
        next: next(trace_id, outcome, &finding),
        blame: finding.blame,
        certainty: finding.certainty,
        path: Vec::new(),
        evidence: Vec::new(),
        shares: Vec::new(),
        logs: Vec::new(),
        changes: Vec::new(),
        releases: Vec::new(),
        unseen: vec!["only spans that services told of themselves are kept of this trace".to_owned()],
    }
}
