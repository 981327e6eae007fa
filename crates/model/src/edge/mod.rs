//! What the gateway itself does with requests from outside and with their answers, besides leading them to services.
//!
//! [`Edge`] is what holds over one route, after the scopes gateway, service and route have been laid over each other:
//! of each rule what the narrowest scope says holds whole. Calls between services pass none of it.

mod answers;
mod cache;
mod headers;
mod limit;
mod proxies;
mod redirect;
mod requests;
mod store;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

pub use answers::{AnyOrigin, Coding, Compress, Cors, Origins, Problems};
pub use cache::Cache;
pub use headers::{HeaderEdits, Part, Template, Unusable};
pub use limit::{ParseRateError, Per, Rate, RateLimit};
pub use proxies::{ProxyHeader, TrustedProxies};
pub use redirect::{Redirect, RedirectPart, RedirectTarget};
pub use requests::{Mirror, PathEdit, Sticky};
pub use store::{LimitStore, ParseRedisUrlError, RedisUrl, WhenDown};

use crate::{ExplainedLimit, Place, Scope, format_size};

/// What holds at the edge for the requests over one route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    /// How many requests are taken of whom; all of them hold. Each with the scope that says it, whose count it is.
    pub rate_limits: Vec<(Scope, RateLimit)>,
    /// The largest body of a request, in bytes.
    pub max_body: Option<u64>,
    /// Whose pages may read the answers.
    pub cors: Option<Cors>,
    /// What the service is asked for in place of the path.
    pub path: Option<PathEdit>,
    /// What changes in the fields of requests.
    pub request_headers: HeaderEdits,
    /// What changes in the fields of answers.
    pub answer_headers: HeaderEdits,
    /// Who gets a copy of requests.
    pub mirror: Option<Mirror>,
    /// Which answers are compressed.
    pub compress: Option<Compress>,
    /// Which answers of services are made into problems.
    pub problems: Option<Problems>,
    /// Which answers are kept for whoever asks the same.
    pub cache: Option<Cache>,
}

/// What one scope says, each rule with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRules<P = Place>(pub(crate) Vec<EdgeRule<P>>);

/// One rule, as one scope says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EdgeRule<P> {
    /// Its key.
    pub name: &'static str,
    /// Nothing if it is off.
    pub said: Option<Said>,
    pub place: P,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Said {
    RateLimits(Vec<RateLimit>),
    MaxBody(#[serde(serialize_with = "as_size")] u64),
    Cors(Cors),
    Path(PathEdit),
    Headers(HeaderEdits),
    Mirror(Mirror),
    Compress(Compress),
    Problems(Problems),
    Cache(Cache),
}

fn as_size<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_size(*bytes))
}

/// The keys of all rules.
pub(crate) const NAMES: [&str; 10] = [
    "rate_limit",
    "max_body",
    "cors",
    "path",
    "request_headers",
    "answer_headers",
    "mirror",
    "compress",
    "problems",
    "cache",
];

// === impl Edge ===

impl Edge {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn lay(&mut self, scope: Scope, name: &str, said: Option<&Said>) {
        match (name, said) {
            ("rate_limit", Some(Said::RateLimits(limits))) => {
                self.rate_limits = limits.iter().map(|limit| (scope, limit.clone())).collect();
            }
            ("rate_limit", _) => self.rate_limits.clear(),
            ("max_body", Some(Said::MaxBody(bytes))) => self.max_body = Some(*bytes),
            ("max_body", _) => self.max_body = None,
            ("cors", Some(Said::Cors(cors))) => self.cors = Some(cors.clone()),
            ("cors", _) => self.cors = None,
            ("path", Some(Said::Path(edit))) => self.path = Some(edit.clone()),
            ("path", _) => self.path = None,
            ("request_headers", Some(Said::Headers(edits))) => self.request_headers = edits.clone(),
            ("request_headers", _) => self.request_headers = HeaderEdits::default(),
            ("answer_headers", Some(Said::Headers(edits))) => self.answer_headers = edits.clone(),
            ("answer_headers", _) => self.answer_headers = HeaderEdits::default(),
            ("mirror", Some(Said::Mirror(mirror))) => self.mirror = Some(mirror.clone()),
            ("mirror", _) => self.mirror = None,
            ("compress", Some(Said::Compress(compress))) => self.compress = Some(compress.clone()),
            ("compress", _) => self.compress = None,
            ("problems", Some(Said::Problems(problems))) => self.problems = Some(problems.clone()),
            ("problems", _) => self.problems = None,
            ("cache", Some(Said::Cache(cache))) => self.cache = Some(cache.clone()),
            ("cache", _) => self.cache = None,
            _ => {}
        }
    }
}

// === impl EdgeRules ===

impl<P> Default for EdgeRules<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P> EdgeRules<P> {
    pub(crate) fn get(&self, name: &str) -> Option<&EdgeRule<P>> {
        self.0.iter().find(|rule| rule.name == name)
    }

    pub(crate) fn placed<Q>(&self, place: impl Fn(&P) -> Q) -> EdgeRules<Q> {
        let moved = |rule: &EdgeRule<P>| EdgeRule {
            name: rule.name,
            said: rule.said.clone(),
            place: place(&rule.place),
        };
        EdgeRules(self.0.iter().map(moved).collect())
    }
}

/// As a table from keys to values.
impl<P> Serialize for EdgeRules<P> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|rule| (rule.name, rule.value())))
    }
}

impl<P> EdgeRule<P> {
    /// As a manifest says it.
    pub(crate) fn value(&self) -> Value {
        self.said.as_ref().map_or(Value::Bool(false), |said| json!(said))
    }
}

/// The scopes that hold for requests over a route, the widest first.
pub(crate) struct EdgeLayers<'a, P = Place>(pub Vec<(Scope, &'a EdgeRules<P>)>);

impl<'a, P> EdgeLayers<'a, P> {
    /// What holds after all.
    pub(crate) fn edge(&self) -> Edge {
        let mut edge = Edge::default();
        for (scope, rules) in &self.0 {
            rules.0.iter().for_each(|rule| edge.lay(*scope, rule.name, rule.said.as_ref()));
        }
        edge
    }

    /// Who says what holds of a rule; nobody if it is off because nobody says anything.
    pub(crate) fn origin(&self, name: &str) -> Option<(Scope, &'a EdgeRule<P>)> {
        self.0.iter().rev().find_map(|(scope, rules)| Some((*scope, rules.get(name)?)))
    }
}

impl EdgeLayers<'_> {
    /// Every rule, with who says so.
    pub(crate) fn explain(&self) -> Vec<ExplainedLimit> {
        let explained = |name: &&str| {
            let origin = self.origin(name);
            ExplainedLimit {
                setting: format!("edge.{name}"),
                value: origin.map_or(Value::Bool(false), |(_, rule)| rule.value()),
                scope: origin.map(|(scope, _)| scope),
                place: origin.map(|(_, rule)| rule.place.clone()),
            }
        };
        NAMES.iter().map(explained).collect()
    }
}
