//! What the manifest says of the edge, made ready off the request path; and what of it outlives a change.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use madang_calls::{Directory, Origin};
use madang_model::{Edge as Rules, Route, Scope, ServiceName, System, edge::Sticky as StickyRule};

use super::{
    Edge,
    cors::Cors,
    headers::Edits,
    limit::{LimitStats, Limiter, Limits},
    mirror::{Mirror, MirrorStats},
};

/// What is shared by all routes of a manifest, and goes on with the next.
#[derive(Default)]
pub(crate) struct Policies {
    limiters: RefCell<BTreeMap<String, Arc<Limiter>>>,
    mirrors: RefCell<Vec<Arc<Mirror>>>,
}

impl Policies {
    /// What holds for requests over a route to a service; nothing if nothing does.
    pub(crate) fn edge(
        &self,
        system: &System,
        directory: &Directory,
        route: Option<&Route>,
        service: &ServiceName,
    ) -> Option<Arc<Edge>> {
        let rules = system.edge_of_route(route, service);
        let gives_cookies =
            route.is_some_and(|route| matches!(route.sticky, Some(StickyRule::Cookie { .. })));
        if rules.is_empty() && !gives_cookies {
            return None;
        }
        let Rules {
            rate_limits,
            max_body,
            cors,
            path,
            request_headers,
            answer_headers,
            mirror,
            compress,
            problems,
        } = rules;
        let identity = route.map_or_else(|| service.to_string(), Route::identity);
        let limiters = rate_limits.iter().map(|(scope, limit)| {
            let of = match scope {
                Scope::Service => service.as_str(),
                Scope::Route => &identity,
                _ => "",
            };
            let limiter = Limiter::new(*scope, of, limit);
            self.limiters.borrow_mut().entry(limiter.id.clone()).or_insert_with(|| Arc::new(limiter)).clone()
        });
        let mirror = mirror.map(|rule| {
            let lane = directory.lane(Origin::Route(format!("mirror of {identity}").into()), &rule.to);
            let policy = system.policy_of_route(None, &rule.to);
            let mirror = Arc::new(Mirror::new(&rule, lane, policy));
            self.mirrors.borrow_mut().push(mirror.clone());
            mirror
        });
        Some(Arc::new(Edge {
            limits: Limits::new(limiters),
            max_body,
            cors: cors.as_ref().map(Cors::new),
            path,
            request: Edits::new(&request_headers),
            answer: Edits::new(&answer_headers),
            mirror,
            compress,
            problems,
        }))
    }

    /// What is left once all routes are ready.
    pub(crate) fn ready(self) -> Kept {
        Kept { limiters: self.limiters.into_inner(), mirrors: self.mirrors.into_inner() }
    }
}

/// What counts, of the manifest in force.
#[derive(Default)]
pub(crate) struct Kept {
    limiters: BTreeMap<String, Arc<Limiter>>,
    mirrors: Vec<Arc<Mirror>>,
}

impl Kept {
    /// Goes on with what was counted before.
    pub(crate) fn adopt(&self, before: &Self) {
        for (id, limiter) in &self.limiters {
            limiter.adopt(before.limiters.get(id).map(|before| &**before));
        }
        let mut tallies = BTreeMap::new();
        for mirror in before.mirrors.iter().chain(&self.mirrors) {
            let tally = tallies.entry(mirror.to().clone()).or_insert_with(|| mirror.tally().clone());
            mirror.adopt(tally.clone());
        }
    }

    pub(crate) fn limits(&self) -> Vec<LimitStats> {
        self.limiters.values().map(|limiter| limiter.stats()).collect()
    }

    /// By the service that gets the copies.
    pub(crate) fn mirrors(&self) -> Vec<MirrorStats> {
        let by_service: BTreeMap<_, _> =
            self.mirrors.iter().map(|mirror| (mirror.to(), mirror.stats())).collect();
        by_service.into_values().collect()
    }
}
