//! What the manifest says of the edge, made ready off the request path; and what of it outlives a change.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use madang_calls::{Directory, Origin};
use madang_model::{Edge as Rules, Route, Scope, ServiceName, System, edge::Sticky as StickyRule};

use super::{
    Edge,
    cors::Cors,
    headers::Edits,
    limit::{
        LimitStats, Limiter, Limits,
        shared::{LimitStoreStats, Store},
    },
    mirror::{Mirror, MirrorStats},
};
use crate::cache::{Cache, Store as Answers};

/// What is shared by all routes of a manifest, and goes on with the next.
#[derive(Default)]
pub(crate) struct Policies {
    limiters: RefCell<BTreeMap<String, Arc<Limiter>>>,
    mirrors: RefCell<Vec<Arc<Mirror>>>,
    caches: RefCell<Vec<Arc<Cache>>>,
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
            cache,
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
        let cache = cache.zip(route).map(|(rule, route)| {
            let cache = Arc::new(Cache::new(rule, (&identity, &route.path), service.as_str()));
            self.caches.borrow_mut().push(cache.clone());
            cache
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
            cache,
        }))
    }

    /// What is left once all routes are ready.
    pub(crate) fn ready(self, system: &System) -> Kept {
        Kept {
            limiters: self.limiters.into_inner(),
            mirrors: self.mirrors.into_inner(),
            caches: self.caches.into_inner(),
            cache_size: system.gateway.cache_size,
            answers: OnceLock::new(),
            wanted: Store::of(system).map(Arc::new),
            store: OnceLock::new(),
        }
    }
}

/// What counts, of the manifest in force.
#[derive(Default)]
pub(crate) struct Kept {
    limiters: BTreeMap<String, Arc<Limiter>>,
    mirrors: Vec<Arc<Mirror>>,
    caches: Vec<Arc<Cache>>,
    cache_size: u64,
    /// Made with the first manifest that wants something kept.
    answers: OnceLock<Arc<Answers>>,
    /// Where limits are to be shared.
    wanted: Option<Arc<Store>>,
    /// Where they are: the one before, if that is the same.
    store: OnceLock<Arc<Store>>,
}

impl Kept {
    /// Goes on with what was counted before.
    pub(crate) fn adopt(&self, before: &Self) {
        for (id, limiter) in &self.limiters {
            limiter.adopt(before.limiters.get(id).map(|before| &**before));
        }
        if let Some(wanted) = &self.wanted {
            let same = before.store.get().filter(|store| store.is(wanted)).cloned();
            let store = self.store.get_or_init(|| same.unwrap_or_else(|| wanted.clone()));
            self.limiters.values().for_each(|limiter| limiter.share(store));
        }
        let mut tallies = BTreeMap::new();
        for mirror in before.mirrors.iter().chain(&self.mirrors) {
            let tally = tallies.entry(mirror.to().clone()).or_insert_with(|| mirror.tally().clone());
            mirror.adopt(tally.clone());
        }
        if let Some(store) = before.answers.get() {
            let _ = self.answers.set(store.clone());
        } else if !self.caches.is_empty() {
            let _ = self.answers.set(Arc::new(Answers::new(self.cache_size)));
        }
        if let Some(store) = self.answers.get() {
            self.caches.iter().for_each(|cache| cache.adopt(store));
        }
    }

    /// It is in force: what is kept for nobody any more goes.
    pub(crate) fn is_in_force(&self) {
        let Some(store) = self.answers.get() else { return };
        store.resize(self.cache_size);
        store.keep_zones(&self.caches.iter().map(|cache| cache.id()).collect::<Vec<_>>());
    }

    /// The answers that are kept, once there was a route that wants some kept.
    pub(crate) fn answers(&self) -> Option<Arc<Answers>> {
        self.answers.get().cloned()
    }

    pub(crate) fn limits(&self) -> Vec<LimitStats> {
        self.limiters.values().map(|limiter| limiter.stats()).collect()
    }

    /// Where limits are shared, if any is.
    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.store.get().filter(|_| self.limiters.values().any(|limiter| limiter.is_shared()))
    }

    pub(crate) fn shared_limiters(&self) -> Vec<Arc<Limiter>> {
        self.limiters.values().filter(|limiter| limiter.is_shared()).cloned().collect()
    }

    pub(crate) fn limit_store(&self) -> Option<LimitStoreStats> {
        self.store().map(|store| store.stats())
    }

    /// By the service that gets the copies.
    pub(crate) fn mirrors(&self) -> Vec<MirrorStats> {
        let by_service: BTreeMap<_, _> =
            self.mirrors.iter().map(|mirror| (mirror.to(), mirror.stats())).collect();
        by_service.into_values().collect()
    }
}
