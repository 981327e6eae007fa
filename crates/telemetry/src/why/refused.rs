//! What the gateway refuses itself: who is to blame where no service was asked.

use madang_wire::{
    Code,
    why::{Blame, Certainty},
};

use super::{
    blame::{Finding, seen},
    calls::{Call, GATEWAY},
};

/// What the gateway alone says of a request, also where its service was asked already: of what it asks for.
const OF_REQUESTS: [Code; 11] = [
    Code::RATE_LIMITED,
    Code::BODY_TOO_LARGE,
    Code::FOREIGN_ORIGIN,
    Code::MISDIRECTED,
    Code::NOT_CACHED,
    Code::NO_CREDENTIAL,
    Code::BAD_CREDENTIAL,
    Code::NOT_ALLOWED,
    Code::TOO_MANY_BAD_TOKENS,
    Code::FORGED,
    Code::NOT_LOGGED_IN,
];

/// What it says of something outside that it needs and did not have.
const OUTSIDE: [Code; 4] = [Code::NO_KEYS, Code::NO_ISSUER, Code::LIMIT_NOT_COUNTED, Code::TOO_MANY_TUNNELS];

/// Why the gateway answered a request itself, if it is not for what a service did. No service is to blame for that.
pub(super) fn of(call: &Call<'_>, place: usize) -> Option<Finding> {
    let id = call.code().filter(|_| call.caller() == GATEWAY)?;
    let code = Code::ALL.iter().find(|code| code.id == id)?;
    let asked = call.callee.is_some();
    if asked && !OF_REQUESTS.contains(code) && !OUTSIDE.contains(code) {
        return None;
    }
    let why = format!("the gateway refused it: {id}, {}", uncapital(code.title));
    let (blame, certainty) = if OUTSIDE.contains(code) || code.status == 500 {
        (Blame::Unknown { suspects: Vec::new() }, Certainty::None)
    } else if *code == Code::NOT_LOGGED_IN {
        (Blame::Request, Certainty::Likely)
    } else {
        (Blame::Request, Certainty::Certain)
    };
    let mut finding = Finding::new(blame, certainty, why, place);
    let answer = call.answer();
    finding.evidence.push(seen(
        call,
        match call.callee {
            None => format!("the gateway answered {answer}, and called nobody"),
            Some(callee) => format!("the gateway answered {answer} in place of {callee}"),
        },
    ));
    Some(finding)
}

fn uncapital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
