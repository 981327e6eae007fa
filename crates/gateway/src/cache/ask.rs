//! A request that the service is asked for the cache: what is found out, and what is kept of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, Method, Response, StatusCode,
    header::{
        CONTENT_LENGTH, CONTENT_LOCATION, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
        LOCATION, RANGE,
    },
    request::Parts,
};
use http_body::Body as _;
use http_body_util::BodyExt;
use madang_calls::{Body, CallError, Client, Context, Renewal};
use madang_wire::CacheUse;
use tokio::time::{Instant, timeout_at};

use super::{
    Cache, Keeping,
    entry::{self, Draft, Entry},
    fill::Copy,
    flights::{Flights, Lead, Turn},
    place::{Place, referred},
    reply::{self, Told, Why},
    store::Store,
    terms::Terms,
    wants::Wants,
};
use crate::{policies::drain, snapshot::Destination, tee::tee};

/// How long a request waits for another's answer: whose client may be slow, on purpose or not.
const PATIENCE: Duration = Duration::from_secs(5);

const CACHE_GROUP_INVALIDATION: http::HeaderName = http::HeaderName::from_static("cache-group-invalidation");

/// What a request has to do with the cache that it did not find its answer in.
pub(crate) struct Ask {
    pub(super) cache: Arc<Cache>,
    pub(super) place: Place,
    pub(super) hash: u64,
    pub(super) purpose: Purpose,
    pub(super) asked: Instant,
}

pub(super) enum Purpose {
    /// To read; with what there is that is not fresh.
    Reads(Box<Wants>, Option<Arc<Entry>>),
    /// To change something.
    Changes,
}

/// The request itself, and where it goes.
pub(crate) struct Errand {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) head: Parts,
    pub(crate) body: Body,
    pub(crate) destination: Arc<Destination>,
}

type Answer = Result<Response<Body>, CallError>;

impl Ask {
    /// What the client gets.
    pub(crate) async fn answer(self, errand: Errand) -> Answer {
        let Self { cache, place, hash, purpose, asked } = self;
        let asking = Asking { keeping: cache.keeping().clone(), cache, place, hash, asked };
        match purpose {
            Purpose::Changes => asking.change(errand).await,
            Purpose::Reads(wants, entry) => asking.read(errand, wants, entry).await,
        }
    }

    /// Asks for what is given meanwhile as it is, unless somebody does already.
    pub(super) fn refresh(self, errand: Errand) {
        let Purpose::Reads(wants, entry) = self.purpose else { return };
        let Self { cache, place, hash, asked, .. } = self;
        let asking = Asking { keeping: cache.keeping().clone(), cache, place, hash, asked };
        let Turn::Leads(lead) = asking.turn() else { return };
        // Nobody waits for it, and it is no request of anybody's over this route.
        let context = Context { route: None, deadline: None, ..errand.context.clone() };
        let errand = Errand { context, ..errand };
        tokio::spawn(async move {
            if let Ok(answer) = asking.fetch(errand, &wants, entry, Some(lead)).await {
                let mut body = answer.into_body();
                while let Some(Ok(_)) = body.frame().await {}
            }
        });
    }
}

/// One request, once it is known what it has to do with the cache.
struct Asking {
    cache: Arc<Cache>,
    keeping: Arc<Keeping>,
    place: Place,
    hash: u64,
    asked: Instant,
}

impl Asking {
    fn store(&self) -> &Arc<Store> {
        &self.keeping.store
    }

    fn turn(&self) -> Turn {
        let key = (self.hash, Arc::as_ptr(&self.keeping.zone) as usize);
        Flights::turn(self.store(), key, self.asked)
    }

    async fn read(&self, errand: Errand, wants: Box<Wants>, entry: Option<Arc<Entry>>) -> Answer {
        if wants.head {
            return self.head(errand, entry).await;
        }
        // What depends on who asks, or on what they have, is nobody else's answer.
        let alone = wants.asker.known || wants.says.no_cache || entry.is_none() && wants.is_conditional();
        let lead = match if alone { Turn::Alone } else { self.turn() } {
            // Who was before may have brought it since this one looked.
            Turn::Leads(lead) => match self.found_meanwhile(&errand, &wants) {
                Some(answer) => return Ok(answer),
                None => Some(lead),
            },
            Turn::Alone => None,
            Turn::Waits(mut landed) => {
                let due = errand.context.deadline.map(|deadline| deadline.0);
                let longest = self.asked + PATIENCE;
                let _ = timeout_at(due.map_or(longest, |due| due.min(longest)), landed.changed()).await;
                if let Some(answer) = self.found_meanwhile(&errand, &wants) {
                    return Ok(answer);
                }
                None
            }
        };
        self.fetch(errand, &wants, entry, lead).await
    }

    /// What another request has fetched, if that answers this one too.
    fn found_meanwhile(&self, errand: &Errand, wants: &Wants) -> Option<Response<Body>> {
        let place = self.place.borrowed();
        let entry = self.store().get(self.hash, &place, &self.keeping.zone, &errand.head.headers)?;
        let age = entry.age(Instant::now());
        if !super::is_good(&entry, wants, age) {
            return None;
        }
        let answer = reply::reply(&entry, wants, age, Told::Collapsed);
        entry.give();
        self.keeping.zone.count(CacheUse::Hit);
        let (method, status) = (&errand.head.method, answer.status().as_u16());
        let lane = &errand.destination.lane;
        errand.client.record_cached(&errand.context, lane, (method, status), CacheUse::Hit, self.asked);
        Some(answer)
    }

    /// Asks the service, and keeps what may be.
    async fn fetch(
        &self,
        errand: Errand,
        wants: &Wants,
        entry: Option<Arc<Entry>>,
        lead: Option<Lead>,
    ) -> Answer {
        let Errand { client, context, mut head, body, destination } = errand;
        let asked_with = head.headers.clone();
        let changes = self.store().changes(self.hash);
        let began = Instant::now();
        let renewal = self.renewal(entry.as_deref(), wants, began);
        let why = Why::of(entry.as_deref(), began);
        if let Some(entry) = entry.as_ref().filter(|_| renewal.validates) {
            ask_if_good(&mut head.headers, entry);
        }
        let (lane, policy) = (&destination.lane, &destination.policy);
        let answer = client.call_for_cache(context, lane, policy, (head, body), renewal).await;
        let came = Instant::now();
        let status = match &answer {
            Ok(answer) => answer.status().as_u16(),
            Err(error) => error.code().status,
        };
        let used = renewal.used(status);
        self.keeping.zone.count(used);
        match (used, entry, answer) {
            (CacheUse::Revalidated, Some(entry), Ok(said)) => {
                Ok(self.still_good(&entry, (wants, why), said.headers(), (began, came), changes))
            }
            (CacheUse::Stale, Some(entry), failed) => {
                // Its connection can be used again.
                if let Ok(failed) = failed {
                    drain(failed.into_body()).await;
                }
                Ok(reply::reply(&entry, wants, entry.age(came), Told::Stale(Some(status))))
            }
            (_, entry, answer) => {
                let answer = answer?;
                if let Some(entry) = entry.as_ref().filter(|_| status < 500) {
                    self.store().forget(self.hash, entry);
                }
                Ok(self.keep(answer, wants, &asked_with, (began, came), (changes, lead), why))
            }
        }
    }

    fn renewal(&self, entry: Option<&Entry>, wants: &Wants, now: Instant) -> Renewal {
        let Some(entry) = entry else { return Renewal::default() };
        let late = entry.age(now).saturating_sub(entry.terms.lifetime);
        Renewal {
            status: reply::status(entry, wants),
            validates: entry.has_validator(),
            stands_in: late < entry.terms.if_error && !wants.says.no_cache,
        }
    }

    /// The service said that what is kept is still good (RFC 9111, section 4.3.4).
    fn still_good(
        &self,
        entry: &Arc<Entry>,
        (wants, why): (&Wants, Why),
        said: &HeaderMap,
        (began, came): (Instant, Instant),
        changes: u64,
    ) -> Response<Body> {
        let other = said.get(ETAG).is_some_and(|etag| Some(etag) != entry.etag());
        let freshened = entry.freshened(said, &self.cache.rule, wants.asker, (began, came));
        match freshened.filter(|_| !other) {
            Some(freshened) => {
                let answer = reply::reply(&freshened, wants, freshened.age(came), Told::Revalidated(why));
                self.store().put(self.hash, freshened, None, changes);
                answer
            }
            // It is this once, and whoever comes next asks anew.
            None => {
                self.store().forget(self.hash, entry);
                reply::reply(entry, wants, entry.age(came), Told::Revalidated(why))
            }
        }
    }

    /// An answer on its way to the client, and to be kept if it may be.
    fn keep(
        &self,
        mut answer: Response<Body>,
        wants: &Wants,
        asked_with: &HeaderMap,
        (began, came): (Instant, Instant),
        (changes, lead): (u64, Option<Lead>),
        why: Why,
    ) -> Response<Body> {
        let copy = self.copy(&answer, wants, asked_with, (began, came));
        reply::tell_forwarded(answer.headers_mut(), why.told(copy.is_some()));
        match copy {
            Some(copy) => answer.map(|body| tee(body, Box::new(Copy { changes, lead, ..copy }))),
            None => {
                lead.into_iter().for_each(|lead| lead.brings_nothing(came));
                answer
            }
        }
    }

    fn copy(
        &self,
        answer: &Response<Body>,
        wants: &Wants,
        asked_with: &HeaderMap,
        (began, came): (Instant, Instant),
    ) -> Option<Copy> {
        let (fields, status, rule) = (answer.headers(), answer.status(), &self.cache.rule);
        let terms = Terms::of(rule, wants.asker, status, fields, came - began, SystemTime::now())?;
        // A length that is known is looked at before, so that nothing is copied in vain.
        let length = answer.body().size_hint().exact().unwrap_or_default();
        let room = (length <= rule.max_body).then(|| self.store().reserve(usize::try_from(length).ok()?));
        let Some(room) = room.flatten() else {
            self.keeping.zone.left_out.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return None;
        };
        let draft = Draft {
            zone: self.keeping.zone.clone(),
            place: self.place.clone(),
            selected: entry::selected(&self.cache.vary, fields, asked_with),
            status,
            fields: Draft::fields(fields, &terms.without),
            came,
            terms,
            tags: entry::tags(rule, fields),
        };
        Some(Copy {
            store: self.store().clone(),
            hash: self.hash,
            draft,
            came: Vec::with_capacity(room.bytes),
            room,
            most: rule.max_body,
            changes: 0,
            lead: None,
        })
    }

    /// A head alone: it tells whether what is kept is still good (section 4.3.5).
    async fn head(&self, errand: Errand, entry: Option<Arc<Entry>>) -> Answer {
        let Errand { client, context, head, body, destination } = errand;
        let (changes, began) = (self.store().changes(self.hash), Instant::now());
        let (lane, policy) = (&destination.lane, &destination.policy);
        let mut answer =
            client.call_for_cache(context, lane, policy, (head, body), Renewal::default()).await?;
        self.keeping.zone.count(CacheUse::Miss);
        if let Some(entry) =
            entry.filter(|entry| answer.status() == entry.status && answer.status() == StatusCode::OK)
        {
            let fields = answer.headers();
            let same = [ETAG, LAST_MODIFIED, CONTENT_LENGTH]
                .iter()
                .all(|name| fields.get(name).is_none_or(|value| Some(value) == entry.fields.get(name)));
            let came = Instant::now();
            let freshened =
                same.then(|| entry.freshened(fields, &self.cache.rule, <_>::default(), (began, came)));
            match freshened.flatten() {
                Some(freshened) => drop(self.store().put(self.hash, freshened, None, changes)),
                None => self.store().forget(self.hash, &entry),
            }
        }
        reply::tell_forwarded(answer.headers_mut(), "madang; fwd=miss");
        Ok(answer)
    }

    /// Whatever it changes, nobody is told after it what was before (section 4.4).
    async fn change(&self, errand: Errand) -> Answer {
        let Errand { client, context, head, body, destination } = errand;
        let (lane, policy) = (&destination.lane, &destination.policy);
        let answer = client.call_in(context, lane, policy, head, body).await;
        let place = self.place.borrowed();
        match &answer {
            // Whether it was done nobody knows.
            Err(_) => self.store().invalidate(&place),
            Ok(answer) if answer.status().is_client_error() || answer.status().is_server_error() => {}
            Ok(answer) => {
                self.store().invalidate(&place);
                let fields = answer.headers();
                for name in [LOCATION, CONTENT_LOCATION] {
                    let reference = fields.get(name).and_then(|reference| reference.to_str().ok());
                    if let Some(there) = reference.and_then(|reference| referred(&place, reference)) {
                        self.store().invalidate(&there.borrowed());
                    }
                }
                let groups = entry::groups(fields, &CACHE_GROUP_INVALIDATION);
                if !groups.is_empty() {
                    self.store().invalidate_groups(place.host, &groups);
                }
            }
        }
        answer
    }
}

/// Asks for the answer only if it is not what is kept (section 4.3.1).
fn ask_if_good(fields: &mut HeaderMap, entry: &Entry) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE] {
        fields.remove(name);
    }
    if let Some(etag) = entry.etag() {
        fields.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(modified) = entry.modified() {
        fields.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// The request again without its body, for whoever asks in its place.
pub(super) fn again(head: &http::Request<impl Sized>) -> Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::GET;
    parts.uri = head.uri().clone();
    parts.version = head.version();
    parts.headers = head.headers().clone();
    parts
}
