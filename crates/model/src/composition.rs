//! Endpoints that the gateway answers from several services.

use serde::Serialize;

use crate::{HeaderMatch, Place, ServiceName, manifest::Expression};

/// An endpoint that the gateway answers itself, from what several services answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Composition {
    /// Its name among the services: its route leads there, and it is the caller of those that it asks.
    pub name: ServiceName,
    /// The path of its route, whose parameters are variables of its expressions.
    pub path: String,
    /// The headers of a request that those that it asks get too. Lower case.
    pub pass: Vec<String>,
    /// Whom it may ask, in the order of the file; at least one.
    pub calls: Vec<PartCall>,
    /// What it answers: the first whose headers a request has. The last has none.
    pub answers: Vec<Answer>,
    /// The line that declares it.
    pub place: Place,
}

/// One call of a composition, whose answer is a variable of this name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartCall {
    /// The name of the variable.
    pub name: String,
    /// Who is asked.
    pub to: ServiceName,
    /// What for: a path with expressions in braces, each of which stands for one segment or a part of it.
    pub path: Expression,
    /// Parameters of the query, with the expressions that give their values.
    pub query: Vec<(String, Expression)>,
    /// Whether there is an answer without it.
    pub optional: bool,
    /// How long it may take, if that is less than the whole may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<std::time::Duration>,
}

/// The shape of an answer, for some clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The headers by which these clients are known.
    pub headers: Vec<HeaderMatch>,
    /// What they are answered.
    pub shape: Expression,
}
