//! Which route a request takes.
//!
//! Of the routes that match, the first in this order wins:
//!
//! 1. host: exact, then `*.suffix` with the longer suffix first, then none;
//! 2. path, compared segment by segment: a literal before `{name}` or `*`, these before `**`; a template that
//!    ends comes before the same template with `/**` after it;
//! 3. method: named, then `HEAD` by way of a named `GET`, then any;
//! 4. headers: more of them before fewer;
//! 5. the order of the files.
//!
//! A request that a route does not match in all five respects falls through to the next. The table is a tree
//! of segments per host; looking up walks it in this order and allocates nothing. Each node is visited once at
//! most, so that no table and no path can make a lookup long.

use std::{
    borrow::Cow,
    cmp::{Ordering, Reverse},
    collections::HashMap,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use madang_model::Route;

use crate::{
    error::Error,
    template::{Segment, Template},
};

/// Routes compiled into a table that never changes. A route is known by its place in the slice given.
#[derive(Debug, Default)]
pub(crate) struct Router {
    exact: HashMap<Box<str>, Tree>,
    /// By suffix, from its dot on: `*.shop.example` is `.shop.example`.
    wildcard: HashMap<Box<str>, Tree>,
    any: Tree,
    order: Box<[usize]>,
}

/// What routing looks at. The path is normalised; the host has no port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// How a lookup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// This route.
    Route(usize),
    /// Routes match but for the method; these methods they take, sorted.
    OtherMethods(Vec<Method>),
    /// No route.
    Nothing,
}

#[derive(Debug, Default)]
struct Tree {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Children by segment, sorted by [`shorter_first`].
    literals: Vec<(Box<str>, Node)>,
    one: Option<Box<Node>>,
    /// Routes whose template ends here, in order of precedence.
    end: Vec<Entry>,
    /// Routes whose template goes on with `**`.
    rest: Vec<Entry>,
}

/// One way into a route from the end of its path.
#[derive(Debug, Clone)]
struct Entry {
    methods: Methods,
    headers: Box<[(HeaderName, HeaderValue)]>,
    route: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Methods {
    Named(Box<[Method]>),
    HeadByGet,
    Any,
}

// === impl Router ===

impl Router {
    /// Compiles routes given in the order of the files.
    pub(crate) fn compile(routes: &[Route]) -> Result<Self, Error> {
        let mut router = Self::default();
        let mut ranks = Vec::with_capacity(routes.len());
        for (index, route) in routes.iter().enumerate() {
            let template = Template::parse(&route.path).map_err(|source| Error::Template {
                place: route.place.to_string(),
                path: route.path.clone(),
                source,
            })?;
            let entries = Entry::of(index, route)?;
            ranks.push((
                host_rank(route.host.as_deref()),
                template.rank(),
                route.methods.is_empty(),
                Reverse(route.headers.len()),
                index,
            ));
            router.tree(route.host.as_deref()).root.insert(template.segments(), entries);
        }
        ranks.sort();
        router.order = ranks.into_iter().map(|(.., index)| index).collect();
        Ok(router)
    }

    /// Every route in order of precedence.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Finds the route that a request takes.
    pub(crate) fn find(&self, target: Target<'_>) -> Found {
        let found = self.walk(target, &mut |entries| {
            entries.iter().find(|e| e.takes(target.method) && e.has_headers(target.headers)).map(|e| e.route)
        });
        if let Some(route) = found {
            return Found::Route(route);
        }
        let mut methods = Vec::new();
        self.walk(target, &mut |entries| {
            let matching = entries.iter().filter(|e| e.has_headers(target.headers));
            methods.extend(matching.flat_map(|e| e.methods.named()).cloned());
            None
        });
        if methods.is_empty() {
            return Found::Nothing;
        }
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        Found::OtherMethods(methods)
    }

    /// Whether any route is for certain hosts only.
    pub(crate) fn looks_at_host(&self) -> bool {
        !(self.exact.is_empty() && self.wildcard.is_empty())
    }

    fn tree(&mut self, host: Option<&str>) -> &mut Tree {
        match host {
            None => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
                None => self.exact.entry(host.into()).or_default(),
            },
        }
    }

    /// Offers the routes whose host and path match, in order of precedence, until one is taken.
    fn walk(&self, target: Target<'_>, take: &mut impl FnMut(&[Entry]) -> Option<usize>) -> Option<usize> {
        if self.looks_at_host() {
            let host = lower_case(target.host);
            let found = self.exact.get(&*host).and_then(|tree| tree.walk(target.path, take));
            if found.is_some() {
                return found;
            }
            // A suffix starts at a dot that has a label before it; the first dot starts the longest.
            for (dot, _) in host.match_indices('.').filter(|(dot, _)| *dot > 0) {
                let found = self.wildcard.get(&host[dot..]).and_then(|tree| tree.walk(target.path, take));
                if found.is_some() {
                    return found;
                }
            }
        }
        self.any.walk(target.path, take)
    }
}

fn host_rank(host: Option<&str>) -> (u8, Reverse<usize>) {
    match host {
        Some(host) if host.starts_with('*') => (1, Reverse(host.len())),
        Some(_) => (0, Reverse(0)),
        None => (2, Reverse(0)),
    }
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

// === impl Tree ===

impl Tree {
    fn walk(&self, path: &str, take: &mut impl FnMut(&[Entry]) -> Option<usize>) -> Option<usize> {
        self.root.walk(path.strip_prefix('/'), take)
    }
}

impl Node {
    fn insert(&mut self, segments: &[Segment], entries: Vec<Entry>) {
        let (into, after) = match segments.split_first() {
            None => return merge(&mut self.end, entries),
            Some((Segment::Rest, _)) => return merge(&mut self.rest, entries),
            Some((Segment::One, after)) => (&mut **self.one.get_or_insert_default(), after),
            Some((Segment::Literal(text), after)) => {
                let at = match self.literals.binary_search_by(|(t, _)| shorter_first(t, text)) {
                    Ok(at) => at,
                    Err(at) => {
                        self.literals.insert(at, (text.clone(), Self::default()));
                        at
                    }
                };
                (&mut self.literals[at].1, after)
            }
        };
        into.insert(after, entries);
    }

    /// `path` is what is left, without its leading slash; nothing is left after the last segment.
    fn walk(&self, path: Option<&str>, take: &mut impl FnMut(&[Entry]) -> Option<usize>) -> Option<usize> {
        let Some(path) = path else {
            return take(&self.end).or_else(|| take(&self.rest));
        };
        let (segment, after) = first_segment(path);
        if let Ok(at) = self.literals.binary_search_by(|(text, _)| shorter_first(text, segment))
            && let Some(found) = self.literals[at].1.walk(after, take)
        {
            return Some(found);
        }
        if let Some(one) = &self.one
            && !segment.is_empty()
            && let Some(found) = one.walk(after, take)
        {
            return Some(found);
        }
        take(&self.rest)
    }
}

/// An order in which most comparisons end at the length.
fn shorter_first(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Segments are short: looking at each byte is quicker here than a search that prepares for long texts.
fn first_segment(path: &str) -> (&str, Option<&str>) {
    match path.bytes().position(|b| b == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

/// Adds entries where their precedence puts them.
fn merge(into: &mut Vec<Entry>, entries: Vec<Entry>) {
    into.extend(entries);
    into.sort_by_key(|e| (e.methods.rank(), Reverse(e.headers.len()), e.route));
}

// === impl Entry ===

impl Entry {
    /// The ways into a route: one, and a second if its `GET` makes it answer `HEAD`.
    fn of(index: usize, route: &Route) -> Result<Vec<Self>, Error> {
        let invalid = |given: &str| Error::Field { place: route.place.to_string(), given: given.to_owned() };
        let headers = route
            .headers
            .iter()
            .map(|h| {
                let name = h.name.parse::<HeaderName>().map_err(|_| invalid(&h.name))?;
                let value = h.value.parse::<HeaderValue>().map_err(|_| invalid(&h.value))?;
                Ok((name, value))
            })
            .collect::<Result<Box<[_]>, Error>>()?;
        let named = route
            .methods
            .iter()
            .map(|m| m.parse::<Method>().map_err(|_| invalid(m)))
            .collect::<Result<Box<[_]>, Error>>()?;
        let head_by_get = named.contains(&Method::GET) && !named.contains(&Method::HEAD);
        let methods = if named.is_empty() { Methods::Any } else { Methods::Named(named) };
        let mut entries = vec![Self { methods, headers, route: index }];
        if head_by_get {
            entries.push(Self { methods: Methods::HeadByGet, ..entries[0].clone() });
        }
        Ok(entries)
    }

    fn takes(&self, method: &Method) -> bool {
        match &self.methods {
            Methods::Named(named) => named.contains(method),
            Methods::HeadByGet => *method == Method::HEAD,
            Methods::Any => true,
        }
    }

    /// Each header must be there with this value among its values.
    fn has_headers(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|(name, value)| headers.get_all(name).iter().any(|v| v == value))
    }
}

impl Methods {
    fn rank(&self) -> u8 {
        match self {
            Self::Named(_) => 0,
            Self::HeadByGet => 1,
            Self::Any => 2,
        }
    }

    fn named(&self) -> &[Method] {
        match self {
            Self::Named(named) => named,
            Self::HeadByGet => &[Method::HEAD],
            Self::Any => &[],
        }
    }
}

#[cfg(test)]
mod tests;
