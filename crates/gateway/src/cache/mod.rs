//! Answers that are kept for whoever asks the same (RFC 9111), as a shared cache.
//!
//! A request comes here once it is known whose it is and that it is not one too many, so that an answer that is kept is
//! still for those alone who may have it. Map: `wants` reads a request, `place` is what it asks for; `store` finds and keeps
//! an `entry`, within bytes that are given; `reply` makes an answer of one; `ask` is for whoever found none: the service is
//! asked once for all who wait (`flights`), `terms` says whether and how its answer may be kept, and `fill` copies it on
//! its way. A `zone` counts what is done over one route.

mod ask;
mod directives;
mod entry;
mod fill;
mod flights;
mod place;
mod reply;
mod store;
mod terms;
mod wants;
mod zone;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderName, Request, Response, Uri, header::HOST};
use http_body::Body as HttpBody;
use madang_calls::Body;
use madang_model::edge::Cache as Rule;
use madang_wire::CacheUse;
use tokio::time::Instant;

pub use self::store::Purge;
use self::{
    ask::Purpose,
    entry::Entry,
    place::Place,
    reply::Told,
    wants::{Kind, Wants},
    zone::Zone,
};
pub(crate) use self::{
    ask::{Ask, Errand},
    store::Store,
};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is kept of the answers over one route of one service.
pub(crate) struct Cache {
    rule: Rule,
    /// The route with what of the rule says which answers are the same, by which what is kept is found after a change.
    id: String,
    route: String,
    service: String,
    vary: Vec<HeaderName>,
    /// Found or made when the manifest that has it comes into force.
    keeping: OnceLock<Arc<Keeping>>,
}

/// Where it is kept.
pub(crate) struct Keeping {
    store: Arc<Store>,
    zone: Arc<Zone>,
}

/// What the cache has for a request.
pub(crate) enum Looked {
    Found(Box<Found>),
    /// The service is to be asked.
    Asks(Box<Ask>),
    /// The service is not to be asked, and nothing is kept.
    NotKept,
}

/// An answer that is kept.
pub(crate) struct Found {
    pub(crate) answer: Response<Body>,
    pub(crate) used: CacheUse,
    pub(crate) asked: Instant,
    /// A new one is fetched meanwhile.
    refresh: Option<Ask>,
}

// === impl Cache ===

impl Cache {
    pub(crate) fn new(rule: Rule, (identity, template): (&str, &str), service: &str) -> Self {
        let vary: Vec<HeaderName> = rule.vary.iter().filter_map(|name| name.parse().ok()).collect();
        let names: Vec<&str> = vary.iter().map(HeaderName::as_str).collect();
        Self {
            id: format!("{identity} {service} {}", names.join(",")),
            route: template.to_owned(),
            service: service.to_owned(),
            rule,
            vary,
            keeping: OnceLock::new(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// From now on answers are kept there.
    pub(crate) fn adopt(&self, store: &Arc<Store>) {
        self.keeping.get_or_init(|| {
            let zone = store.zone(&self.id, &self.route, &self.service);
            Arc::new(Keeping { store: store.clone(), zone })
        });
    }

    fn keeping(&self) -> &Arc<Keeping> {
        self.keeping.get_or_init(|| {
            let store = Arc::new(Store::new(Rule::SIZE));
            let zone = store.zone(&self.id, &self.route, &self.service);
            Arc::new(Keeping { store, zone })
        })
    }

    /// What there is for a request that came for this target; nothing if the request is none of the cache's concern.
    pub(crate) fn look<B: HttpBody>(
        self: &Arc<Self>,
        request: &Request<B>,
        target: &Uri,
        known: bool,
    ) -> Option<Looked> {
        let wants = match Kind::of(request, known) {
            Kind::Reads(wants) => Some(wants),
            Kind::Changes => None,
            Kind::Other => return None,
        };
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        // As the service is told it: by the gateway, or by a proxy that is trusted.
        let secure = request.headers().get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        let place = Place { secure, host, path };
        let Keeping { store, zone } = &**self.keeping();
        let hash = place.hash(&store.hasher);
        let asked = Instant::now();
        let ask = |purpose| Ask { cache: self.clone(), place: place.owned(), hash, purpose, asked };
        let Some(wants) = wants else { return Some(Looked::Asks(Box::new(ask(Purpose::Changes)))) };
        let entry = store.get(hash, &place, zone, request.headers());
        let entry = entry.filter(|entry| entry.terms.shared || !wants.asker.known);
        if let Some(entry) = &entry {
            let age = entry.age(asked);
            if let Some((used, refreshes)) = given(entry, &wants, age) {
                let told = if used == CacheUse::Hit { Told::Hit } else { Told::Stale(None) };
                let answer = reply::reply(entry, &wants, age, told);
                entry.give();
                zone.count(used);
                let of_entry = || {
                    let wants = Wants { asker: wants.asker, ..Wants::default() };
                    Purpose::Reads(Box::new(wants), Some(entry.clone()))
                };
                let refresh = refreshes.then(|| ask(of_entry()));
                return Some(Looked::Found(Box::new(Found { answer, used, asked, refresh })));
            }
        }
        if wants.says.only_if_cached {
            return Some(Looked::NotKept);
        }
        Some(Looked::Asks(Box::new(ask(Purpose::Reads(Box::new(wants), entry)))))
    }
}

impl Found {
    /// Fetches a new answer if this one is not fresh.
    pub(crate) fn refreshed<B>(
        &mut self,
        request: &Request<B>,
        errand: impl FnOnce(http::request::Parts) -> Errand,
    ) {
        if let Some(ask) = self.refresh.take() {
            ask.refresh(errand(ask::again(request)));
        }
    }
}

/// Whether an answer of this age is given without asking, as what, and whether a new one is fetched meanwhile (RFC 9111,
/// section 4.2.4; RFC 5861, section 3).
fn given(entry: &Entry, wants: &Wants, age: Duration) -> Option<(CacheUse, bool)> {
    let (terms, says) = (&entry.terms, &wants.says);
    if terms.no_cache || says.no_cache || says.max_age.is_some_and(|most| age > most) {
        return None;
    }
    let needed = says.min_fresh.unwrap_or_default();
    if age + needed < terms.lifetime {
        return Some((CacheUse::Hit, false));
    }
    if terms.strict || says.min_fresh.is_some() {
        return None;
    }
    let late = age.saturating_sub(terms.lifetime);
    if says.max_stale.is_some_and(|most| late <= most) {
        return Some((CacheUse::Stale, false));
    }
    // A client that says how old is too old is not given what is older than fresh.
    (says.max_age.is_none() && late < terms.while_revalidating).then_some((CacheUse::Stale, true))
}

/// Whether an answer that just came answers a request that waited for it.
fn is_good(entry: &Entry, wants: &Wants, age: Duration) -> bool {
    matches!(given(entry, wants, age), Some((CacheUse::Hit, _)))
}
