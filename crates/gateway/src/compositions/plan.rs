//! Which calls an answer needs, and what cannot be.

use std::collections::BTreeSet;

use madang_model::{
    Composition,
    manifest::{Expression, ManifestError},
    nearest, parameters,
};

use super::{address::Address, address::refused, expression::Compiled};

/// What is made of a composition.
pub(super) struct Plan {
    /// The address of each call, and the calls that it is made of.
    pub(super) calls: Vec<(Address, Box<[usize]>)>,
    /// The shape of each answer, and which of the calls it needs.
    pub(super) answers: Vec<(Compiled, Box<[bool]>)>,
}

/// What an expression may name besides calls and parameters.
const ALWAYS: [&str; 2] = ["request", "principal"];

impl Plan {
    /// Reads the expressions of a composition, or says all that is wrong with them.
    pub(super) fn of(composition: &Composition) -> Result<Self, Vec<ManifestError>> {
        let mut problems = Vec::new();
        let mut known: BTreeSet<String> =
            parameters(&composition.path).map(|(_, name)| name.to_owned()).collect();
        known.extend(ALWAYS.map(str::to_owned));
        known.extend(composition.calls.iter().map(|call| call.name.clone()));
        let index = |name: &str| composition.calls.iter().position(|call| call.name == name);

        let mut calls = Vec::new();
        for call in &composition.calls {
            let address = Address::parse(call, &mut problems);
            let names: BTreeSet<&str> = address.names().collect();
            let whole = [&call.path].into_iter().chain(call.query.iter().map(|(_, expression)| expression));
            for name in names.iter().filter(|name| !known.contains(**name)) {
                let at = whole.clone().find(|expression| expression.text().contains(*name));
                problems.push(unknown(at.unwrap_or(&call.path), name, &known));
            }
            let needs: Box<[usize]> = names.iter().filter_map(|name| index(name)).collect();
            calls.push((address, needs));
        }
        for cycle in cycles(&calls) {
            let call = &composition.calls[cycle];
            problems.push(call.path.refused(
            0..0,
            &format!("the call {} needs its own answer", call.name),
            "comes back to itself",
            "ask with the parameters of the path, or with what a call answers that does not need this one",
        ));
        }
        known.insert("problems".to_owned());
        let mut answers = Vec::new();
        for answer in &composition.answers {
            let shape = match Compiled::parse(answer.shape.text()) {
                Ok(shape) => shape,
                Err(unreadable) => {
                    problems.push(refused(&answer.shape, unreadable, 0));
                    continue;
                }
            };
            for name in shape.names.iter().filter(|name| !known.contains(*name)) {
                problems.push(unknown(&answer.shape, name, &known));
            }
            let needs = reached(&calls, shape.names.iter().filter_map(|name| index(name)));
            answers.push((shape, needs));
        }
        if problems.is_empty() {
            for (at, call) in composition.calls.iter().enumerate() {
                if !answers.iter().any(|(_, needs)| needs[at]) {
                    problems.push(call.path.refused(
                        0..0,
                        &format!("the call {} is never made", call.name),
                        "no answer needs it",
                        "name it in `answer`, or remove it",
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(Self { calls, answers }) } else { Err(problems) }
    }
}

fn unknown(expression: &Expression, name: &str, known: &BTreeSet<String>) -> ManifestError {
    let at = expression.text().find(name).unwrap_or_default();
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let help = match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`? There are {list}"),
        None => format!("there are {list}"),
    };
    expression.refused(
        at..at + name.len(),
        &format!("an expression names `{name}`, which is nothing"),
        "unknown",
        &help,
    )
}

/// The calls that these need, and those that they need in turn.
fn reached(calls: &[(Address, Box<[usize]>)], first: impl Iterator<Item = usize>) -> Box<[bool]> {
    let mut reached = vec![false; calls.len()];
    let mut left: Vec<usize> = first.collect();
    while let Some(at) = left.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            left.extend(&calls[at].1);
        }
    }
    reached.into()
}

/// The calls that need themselves, by whatever way.
fn cycles(calls: &[(Address, Box<[usize]>)]) -> Vec<usize> {
    (0..calls.len()).filter(|&at| reached(calls, calls[at].1.iter().copied())[at]).collect()
}
