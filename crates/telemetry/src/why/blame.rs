//! Who is to blame, by what the calls of one trace say: from the request from outside down to the call that failed with
//! no failed call below it, or that took the time.
//!
//! The rules are cautious. A service that answered for itself while its own calls went well is to blame for certain;
//! where the cause may lie outside of what was seen, or two explanations are left, nobody is.

use std::collections::BTreeMap;

use madang_wire::{
    Code,
    why::{Blame, Certainty, Evidence, Share},
};

use super::{
    calls::{Call, Calls, GATEWAY},
    refused,
};

/// The part of a call's time from which on something is what it was spent on.
const MOST: u64 = 2;

/// From so many calls on it is their number that takes the time.
const MANY: usize = 10;

/// What the trace says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) blame: Blame,
    pub(super) certainty: Certainty,
    /// Why, in words that follow the name of whoever is to blame.
    pub(super) because: String,
    /// The calls from the one that was asked about to the one that decides, by their places.
    pub(super) path: Vec<usize>,
    pub(super) evidence: Vec<Evidence>,
    /// The service that was not asked, because of what it did before: earlier traces say more.
    pub(super) before: Option<String>,
}

impl Finding {
    pub(super) fn new(blame: Blame, certainty: Certainty, because: impl Into<String>, place: usize) -> Self {
        let because = because.into();
        Self { blame, certainty, because, path: vec![place], evidence: Vec::new(), before: None }
    }

    fn after(mut self, place: usize) -> Self {
        self.path.insert(0, place);
        self
    }
}

/// Why a call failed, and what was answered all the same.
pub(super) fn of_failure(calls: &Calls<'_>, place: usize) -> Finding {
    let mut finding = cause_of(calls, place);
    let call = &calls.all[place];
    if let Some(fallback) = call.fallback() {
        let text = format!("its fallback ({fallback}) was answered in place of that: {}", call.status());
        finding.evidence.push(seen(call, text));
    }
    finding
}

fn cause_of(calls: &Calls<'_>, place: usize) -> Finding {
    let call = &calls.all[place];
    let callee = call.callee.unwrap_or(call.caller());
    if let (Some(id), Some(_)) = (call.text("madang.fault"), call.code()) {
        return fault(call, id, callee, place);
    }
    if let Some(finding) = refused::of(call, place) {
        return finding;
    }
    let code = call.code();
    let is = |codes: &[Code]| codes.iter().any(|known| code == Some(known.id));
    let mut finding = if is(&[Code::UNDECLARED]) {
        let blame = Blame::Declaration { caller: call.caller().to_owned(), callee: callee.to_owned() };
        Finding::new(blame, Certainty::Certain, "is not declared in the manifest", place)
    } else if is(&[
        Code::NO_ROUTE,
        Code::METHOD_NOT_ALLOWED,
        Code::BAD_REQUEST,
        Code::NOT_SERVED,
        Code::STALLED,
    ]) {
        if call.caller() == GATEWAY {
            return Finding::new(Blame::Request, Certainty::Certain, "nobody could answer it", place);
        }
        let because = format!("sent a request to {callee} that nobody could answer");
        Finding::new(caller(call), Certainty::Certain, because, place)
    } else if is(&[Code::NO_INSTANCE, Code::PARKING_FULL]) {
        Finding::new(service(call), Certainty::Certain, "had no instance that was ready", place)
    } else if is(&[Code::LEFT_OUT]) {
        Finding::new(service(call), Certainty::Certain, "is left out on this machine", place)
    } else if is(&[Code::CONNECT]) {
        Finding::new(service(call), Certainty::Certain, "took no connection", place)
    } else if is(&[Code::BROKEN]) && (!call.is_cut() || unhealed(calls, place).is_empty()) {
        let because = match call.is_cut() {
            true => "broke off in the middle of its answer",
            false => "broke the connection before it answered",
        };
        Finding::new(service(call), Certainty::Certain, because, place)
    } else if is(&[Code::PANIC]) {
        Finding::new(service(call), Certainty::Certain, "panicked", place)
    } else if is(&[Code::OPEN]) {
        let because = "was not asked, because too many calls to it had failed or were slow before";
        let mut found = Finding::new(service(call), Certainty::Likely, because, place);
        found.before = Some(callee.to_owned());
        found
    } else if is(&[Code::OVERLOADED]) {
        let because = "had as many calls under way as it is allowed";
        let mut found = Finding::new(service(call), Certainty::Likely, because, place);
        found.before = Some(callee.to_owned());
        found
    } else if is(&[Code::INTERNAL]) {
        Finding::new(caller(call), Certainty::Certain, "made a request that cannot be sent", place)
    } else if is(&[Code::TIMEOUT]) || call.status() == 0 {
        return of_time(calls, place);
    } else {
        return of_answer(calls, place);
    };
    finding
        .evidence
        .push(seen(call, format!("{} got {} from the call to {callee}", call.caller(), call.answer())));
    finding
}

/// Why the callee answered with a failure.
fn of_answer(calls: &Calls<'_>, place: usize) -> Finding {
    let call = &calls.all[place];
    let callee = call.callee.unwrap_or(call.caller());
    let below = unhealed(calls, place);
    let answered = seen(call, format!("{callee} answered {} {}", call.caller(), call.answer()));
    if below.is_empty() {
        let others = calls.children(place).count();
        let mut finding = match others {
            0 => Finding::new(
                service(call),
                Certainty::Certain,
                format!("answered {} itself", call.answer()),
                place,
            ),
            _ => Finding::new(
                service(call),
                Certainty::Certain,
                format!("answered {}, while no call of its own failed", call.answer()),
                place,
            ),
        };
        finding.evidence.push(answered);
        let refused = calls.children(place).map(|child| &calls.all[child]);
        for child in refused.filter(|child| (400..500).contains(&child.status())) {
            let other = child.callee.unwrap_or_default();
            // Whether the question or the answer was wrong, nobody can see from here.
            finding.certainty = Certainty::Likely;
            finding.evidence.push(seen(
                child,
                format!("{other} had refused its {} with {}", child.span.name, child.status()),
            ));
        }
        return finding;
    }
    let found: Vec<Finding> = below.iter().map(|&child| of_failure(calls, child)).collect();
    let mut finding = agreed(found).after(place);
    // Whoever passes a failure on says so; other answers may have another reason too.
    let passed_on = matches!(call.status(), 502..=504)
        || call.number("rpc.grpc.status_code").is_some_and(|it| it == 14 || it == 4);
    if !passed_on {
        let later = below.iter().map(|&child| calls.all[child].end_us()).max().unwrap_or(0);
        let went_on = calls.children(place).any(|child| {
            let child = &calls.all[child];
            child.span.start_us >= later && !child.failed()
        });
        finding.certainty = finding.certainty.min(Certainty::Likely);
        if went_on {
            let text = format!(
                "{callee} went on after that with other calls, and answered {} in the end",
                call.answer()
            );
            finding.evidence.push(seen(call, text));
        }
    }
    finding.evidence.push(answered);
    finding
}

/// What a call waited for that ended without an answer, or took long.
pub(super) fn of_time(calls: &Calls<'_>, place: usize) -> Finding {
    let call = &calls.all[place];
    let callee = call.callee.unwrap_or(call.caller());
    let whole = call.span.duration_us.max(1);
    if let Some(id) = call.text("madang.fault") {
        return fault(call, id, callee, place);
    }
    if call.parked_us() >= whole / MOST {
        let because = "had no instance that was ready, or no place for one more call";
        let mut finding = Finding::new(service(call), Certainty::Likely, because, place);
        finding.evidence.push(seen(
            call,
            format!("the call to {callee} waited {} of {} for that", time(call.parked_us()), time(whole)),
        ));
        finding.before = Some(callee.to_owned());
        return finding;
    }
    let mut by_callee: BTreeMap<&str, (u64, usize, usize)> = BTreeMap::new();
    for child in calls.children(place) {
        let (from, to) = calls.overlap(place, child);
        let sum = by_callee.entry(calls.all[child].callee.unwrap_or_default()).or_insert((0, 0, child));
        sum.0 += to - from;
        sum.1 += 1;
        if calls.all[child].span.duration_us > calls.all[sum.2].span.duration_us {
            sum.2 = child;
        }
    }
    let alone = calls.alone_us(place);
    if let Some((other, (spent, count, longest))) =
        by_callee.into_iter().max_by_key(|(_, (spent, ..))| *spent)
        && spent > whole / MOST
    {
        let child = &calls.all[longest];
        if count >= MANY && child.span.duration_us < whole / 10 {
            let because = format!("made {count} calls to {other} one after the other");
            let mut finding = Finding::new(service(call), Certainty::Likely, because, place);
            finding
                .evidence
                .push(seen(call, format!("they took {} of {}, none of them long", time(spent), time(whole))));
            return finding;
        }
        let mut finding =
            if child.failed() { of_failure(calls, longest) } else { of_time(calls, longest) }.after(place);
        finding.evidence.push(seen(
            child,
            format!("{callee} spent {} of {} in calls to {other}", time(spent), time(whole)),
        ));
        return finding;
    }
    if let Some(handler) = call.handler
        && handler.duration_us < alone / MOST
        && call.code().is_none()
    {
        // Whoever asks may be the one that is too busy, to take the answer; not if others answered it in no time.
        let mut finding = if asks_quickly(calls, place) {
            let because = "let the request wait before it began with it";
            Finding::new(service(call), Certainty::Likely, because, place)
        } else {
            let suspects = vec![call.caller().to_owned(), callee.to_owned()];
            let because = format!("the time went between {} and {callee}", call.caller());
            Finding::new(Blame::Unknown { suspects }, Certainty::None, because, place)
        };
        let text = format!(
            "{callee} says it took {}, {} waited {}",
            time(handler.duration_us),
            call.caller(),
            time(whole)
        );
        finding.evidence.push(seen(call, text));
        return finding;
    }
    let (because, certainty) = match (call.code(), call.status(), alone > whole / MOST) {
        (Some(_), _, _) => ("did not answer in time", Certainty::Certain),
        (None, 0, _) => ("had not answered when its caller left", Certainty::Likely),
        (None, _, true) => ("took most of the time itself", Certainty::Certain),
        (None, _, false) => ("took the time in calls to several others", Certainty::Likely),
    };
    let mut finding = Finding::new(service(call), certainty, because, place);
    finding
        .evidence
        .push(seen(call, format!("{callee} spent {} of {} in no call to another", time(alone), time(whole))));
    finding
}

/// Whether whoever made a call is known to lose no time of its own with calls: the node, or a service whose other calls of
/// the same trace took no longer than their callees say.
fn asks_quickly(calls: &Calls<'_>, place: usize) -> bool {
    let call = &calls.all[place];
    let lost = |call: &Call<'_>| Some(call.span.duration_us.saturating_sub(call.handler?.duration_us));
    let most = lost(call).unwrap_or(0) / 4;
    let others =
        calls.all.iter().filter(|other| other.caller() == call.caller() && other.callee != call.callee);
    call.text("madang.hop") != Some("sdk") || others.filter_map(lost).any(|lost| lost < most)
}

/// The failed calls below one that no later success made good.
fn unhealed(calls: &Calls<'_>, place: usize) -> Vec<usize> {
    let healed = |failed: usize| {
        let failed = &calls.all[failed];
        calls.children(place).map(|child| &calls.all[child]).any(|later| {
            !later.failed()
                && later.callee == failed.callee
                && later.span.name == failed.span.name
                && later.span.start_us >= failed.end_us()
        })
    };
    // What Madang refused to pass on is a failure too, whatever its status.
    let failed = |child: usize| calls.all[child].failed() || calls.all[child].code().is_some();
    calls.children(place).filter(|&child| failed(child) && !healed(child)).collect()
}

/// What several failures below the same call say together.
fn agreed(mut found: Vec<Finding>) -> Finding {
    // The first that failed, all the way down.
    let first = found.remove(0);
    let blamed = |finding: &Finding| match &finding.blame {
        Blame::Service { service, .. } => Some(service.clone()),
        _ => None,
    };
    let others: Vec<Finding> = found
        .into_iter()
        .filter(|other| {
            blamed(other) != blamed(&first) || other.blame != first.blame && blamed(other).is_none()
        })
        .collect();
    if others.is_empty() {
        return first;
    }
    let mut suspects: Vec<String> = std::iter::once(&first).chain(&others).filter_map(blamed).collect();
    suspects.dedup();
    let mut evidence = first.evidence.clone();
    evidence.extend(others.iter().flat_map(|other| other.evidence.clone()));
    Finding {
        blame: Blame::Unknown { suspects },
        certainty: Certainty::None,
        because: "more than one of its calls failed, for reasons of their own".to_owned(),
        evidence,
        ..first
    }
}

/// A request that was refused: by whom.
pub(super) fn of_refusal(calls: &Calls<'_>, place: usize) -> Finding {
    let call = &calls.all[place];
    let callee = call.callee.unwrap_or(call.caller());
    let undeclared =
        calls.children(place).find(|&child| calls.all[child].code() == Some(Code::UNDECLARED.id));
    if let Some(child) = undeclared {
        return of_failure(calls, child).after(place);
    }
    let same = calls.children(place).filter(|&child| calls.all[child].status() == call.status()).last();
    if let Some(child) = same {
        return of_refusal(calls, child).after(place);
    }
    if call.code().is_some() {
        return of_failure(calls, place);
    }
    let mut finding = Finding::new(
        Blame::Request,
        Certainty::Likely,
        format!("{callee} refused it with {}", call.answer()),
        place,
    );
    finding.evidence.push(seen(call, format!("{callee} answered {} {}", call.caller(), call.answer())));
    finding
}

/// What may be said of a request that went well: nothing, or what failed on the way all the same.
pub(super) fn of_success(calls: &Calls<'_>, place: usize) -> Finding {
    let call = &calls.all[place];
    let mut open = vec![place];
    while let Some(above) = open.pop() {
        let below = unhealed(calls, above);
        if !below.is_empty() {
            let found = below.iter().map(|&child| of_failure(calls, child)).collect();
            let mut finding = agreed(found);
            if above != place {
                finding = finding.after(above);
            }
            let text = format!("the request was answered {} in spite of that", call.answer());
            finding.evidence.push(seen(call, text));
            return finding.after(place);
        }
        open.extend(calls.children(above));
    }
    let again = again(calls);
    let because = match again.is_empty() {
        true => "nothing failed, and it did not take long",
        false => "nothing failed in the end, and it did not take long",
    };
    let mut finding = Finding::new(Blame::Nobody, Certainty::Certain, because, place);
    finding.evidence.extend(again);
    if let Some(kept @ ("hit" | "stale")) = call.text("madang.cache") {
        let what =
            if kept == "hit" { "an answer that it had kept" } else { "an old answer that it had kept" };
        finding.evidence.push(seen(call, format!("{} gave {what}, and waited for nobody", call.caller())));
    }
    for child in calls.children(place).map(|child| &calls.all[child]).filter(|child| child.failed()) {
        let callee = child.callee.unwrap_or_default();
        let text = format!("{callee} answered {} once, and well when it was asked again", child.answer());
        finding.evidence.push(seen(child, text));
    }
    finding
}

/// The calls that were answered well, but not at their first attempt.
pub(super) fn again(calls: &Calls<'_>) -> Vec<Evidence> {
    let again = calls.all.iter().filter(|call| !call.failed() && call.attempts() > 1);
    again
        .map(|call| {
            let callee = call.callee.unwrap_or_default();
            let text =
                format!("{} made {} attempts to be answered by {callee}", call.caller(), call.attempts());
            seen(call, text)
        })
        .collect()
}

/// Where the time of a call went, by service, the most first.
pub(super) fn shares(calls: &Calls<'_>, entry: usize) -> Vec<Share> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut open = vec![entry];
    while let Some(place) = open.pop() {
        let call = &calls.all[place];
        let sum = sums.entry(call.callee.unwrap_or(call.caller())).or_default();
        sum.0 += calls.alone_us(place);
        sum.1 += call.parked_us();
        open.extend(calls.children(place));
    }
    let mut shares: Vec<Share> = sums
        .into_iter()
        .map(|(service, (self_us, parked_us))| Share { service: service.to_owned(), self_us, parked_us })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.self_us + share.parked_us));
    shares
}

fn fault(call: &Call<'_>, id: &str, callee: &str, place: usize) -> Finding {
    let (id, caller, callee) = (id.to_owned(), call.caller().to_owned(), callee.to_owned());
    let text = format!("the fault {id} met the call of {caller} to {callee}: {}", call.answer());
    let blame = Blame::Fault { id, caller, callee };
    let mut finding = Finding::new(blame, Certainty::Certain, "was made on purpose", place);
    finding.evidence.push(seen(call, text));
    finding
}

fn service(call: &Call<'_>) -> Blame {
    Blame::Service {
        service: call.callee.unwrap_or(call.caller()).to_owned(),
        instance: call.text("service.instance.id").map(str::to_owned),
        release: call.text("madang.release").map(str::to_owned),
    }
}

fn caller(call: &Call<'_>) -> Blame {
    Blame::Service { service: call.caller().to_owned(), instance: None, release: None }
}

/// Evidence that a call shows, at its end.
pub(super) fn seen(call: &Call<'_>, text: String) -> Evidence {
    Evidence { at_us: call.end_us(), span_id: Some(call.span.span_id), text }
}

/// A time in microseconds, to read.
pub(super) fn time(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}
