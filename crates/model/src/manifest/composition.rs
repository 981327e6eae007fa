//! What `[[compositions]]` says, with the place of each value.

use std::time::Duration;

use super::{
    Expression,
    raw::{RawRoute, RawTarget, at, parsed, route, text, texts},
    source::{At, Spot},
    tree::{Entry, Node, Value},
};
use crate::{Answer, Composition, HeaderMatch, PartCall, ServiceName, parse_duration};

/// `[[compositions]]`.
#[derive(Debug, Clone)]
pub(super) struct RawComposition {
    pub name: At<ServiceName>,
    /// The route that leads to it.
    pub route: RawRoute,
    pub pass: Vec<At<String>>,
    pub calls: Vec<RawPart>,
    pub answers: Vec<RawAnswer>,
    /// Whether nothing in it was refused.
    pub sound: bool,
}

/// `[compositions.calls.NAME]`.
#[derive(Debug, Clone)]
pub(super) struct RawPart {
    pub name: At<String>,
    pub to: At<ServiceName>,
    pub path: At<String>,
    pub query: Vec<(String, At<String>)>,
    pub optional: Option<At<bool>>,
    pub timeout: Option<At<Duration>>,
}

/// One of several answers.
#[derive(Debug, Clone)]
pub(super) struct RawAnswer {
    pub spot: Spot,
    pub headers: Vec<(String, At<String>)>,
    pub shape: At<String>,
}

impl RawComposition {
    /// Nothing if its name or path is not known, since then nothing of it is.
    pub fn of(node: &Node) -> Option<Self> {
        let name: At<ServiceName> = node.get("name").and_then(parsed)?;
        let mut route = route(node, None)?;
        let weight = At { value: 1, spot: name.spot.clone() };
        (route.to, route.nowhere) = (vec![RawTarget { service: name.clone(), weight }], None);
        let get = ["GET", "HEAD"].map(|method| At { value: method.to_owned(), spot: route.spot.clone() });
        route.methods = get.into();
        let calls = node.get("calls").map(Node::entries).unwrap_or_default();
        Some(Self {
            route,
            pass: node.get("pass").map(texts).unwrap_or_default(),
            calls: calls.iter().filter_map(RawPart::of).collect(),
            answers: node.get("answer").map(answers).unwrap_or_default(),
            sound: !node.is_broken(),
            name,
        })
    }

    pub fn in_force(&self) -> Composition {
        Composition {
            name: self.name.value.clone(),
            path: self.route.path.clone(),
            pass: self.pass.iter().map(|at| at.value.to_ascii_lowercase()).collect(),
            calls: self.calls.iter().map(RawPart::in_force).collect(),
            answers: self.answers.iter().map(RawAnswer::in_force).collect(),
            place: self.name.spot.place(),
        }
    }
}

impl RawPart {
    fn of(Entry { key, key_spot, node }: &Entry) -> Option<Self> {
        let name = At { value: key.clone(), spot: key_spot.clone() };
        let to = match node.get("to") {
            Some(to) => parsed(to)?,
            None => At { value: key.parse().ok()?, spot: key_spot.clone() },
        };
        let query = node.get("query").map(Node::entries).unwrap_or_default();
        let optional = node.get("optional");
        let timeout = node.get("timeout");
        Some(Self {
            name,
            to,
            path: node.get("path").and_then(text)?,
            query: query.iter().filter_map(|e| Some((e.key.clone(), text(&e.node)?))).collect(),
            optional: optional.and_then(|node| at(node, matches!(node.value, Value::Boolean(true)))),
            timeout: timeout.and_then(|node| at(node, parse_duration(&text(node)?.value).ok()?)),
        })
    }

    fn in_force(&self) -> PartCall {
        PartCall {
            name: self.name.value.clone(),
            to: self.to.value.clone(),
            path: Expression::new(&self.path),
            query: self.query.iter().map(|(name, at)| (name.clone(), Expression::new(at))).collect(),
            optional: self.optional.as_ref().is_some_and(|at| at.value),
            timeout: self.timeout.as_ref().map(|at| at.value),
        }
    }
}

fn answers(node: &Node) -> Vec<RawAnswer> {
    if let Some(shape) = text(node) {
        return vec![RawAnswer { spot: node.spot.clone(), headers: Vec::new(), shape }];
    }
    let answer = |node: &Node| {
        let headers = node.get("headers").map(Node::entries).unwrap_or_default();
        let header = |e: &Entry| Some((e.key.to_ascii_lowercase(), text(&e.node)?));
        Some(RawAnswer {
            spot: node.spot.clone(),
            headers: headers.iter().filter_map(header).collect(),
            shape: node.get("shape").and_then(text)?,
        })
    };
    node.items().iter().filter_map(answer).collect()
}

impl RawAnswer {
    fn in_force(&self) -> Answer {
        let header = |(name, value): &(String, At<String>)| HeaderMatch {
            name: name.clone(),
            value: value.value.clone(),
        };
        Answer { headers: self.headers.iter().map(header).collect(), shape: Expression::new(&self.shape) }
    }
}
