//! What the gateway itself does with requests from outside and with their answers, besides leading them to services.
//!
//! Map: `compile` makes an [`Edge`] of what the manifest says of a route; a [`Passage`] is one request on its way through
//! it. Each rule is the file of its name: `limit`, `body_limit`, `cors`, `path`, `headers`, `redirect`, `sticky`, `mirror`,
//! `compress`, `problems`. A route without rules has no edge, and its requests no passage.

mod body_limit;
mod compile;
mod compress;
pub(crate) mod cors;
mod drain;
mod headers;
pub(crate) mod limit;
mod mirror;
mod path;
mod problems;
pub(crate) mod redirect;
pub(crate) mod sticky;

use std::{net::IpAddr, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::{ORIGIN, SET_COOKIE, VARY},
    request::Parts,
};
use madang_calls::{Body, Client, Context, TooLarge};
use madang_model::edge::{Compress, PathEdit, Problems};

use self::{
    body_limit::Limited,
    compress::Takes,
    cors::Cors,
    headers::{Edits, Filling},
    limit::{Asking, Limits, Stopped},
    mirror::Mirror,
};
use crate::{
    answer::{Asker, Refusal},
    auth::who::Who,
    cache::{Cache, Looked},
};

pub(crate) use self::{
    compile::{Kept, Policies},
    drain::drain,
};
pub use self::{
    limit::{
        LimitStats,
        shared::{Connected, LimitConnector, LimitStoreStats, Stream},
    },
    mirror::MirrorStats,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What holds for the requests over one route to one service.
#[derive(Default)]
pub(crate) struct Edge {
    limits: Option<Limits>,
    max_body: Option<u64>,
    pub(crate) cors: Option<Cors>,
    path: Option<PathEdit>,
    request: Option<Edits>,
    answer: Option<Edits>,
    mirror: Option<Arc<Mirror>>,
    compress: Option<Compress>,
    problems: Option<Problems>,
    cache: Option<Arc<Cache>>,
}

/// One request on its way through the edge, and what its answer needs to know of it.
pub(crate) struct Passage {
    edge: Arc<Edge>,
    address: IpAddr,
    origin: Option<HeaderValue>,
    host: Option<HeaderValue>,
    takes: Option<Takes>,
    /// What `RateLimit` says.
    left: Option<HeaderValue>,
    /// By which the client gets the same target again.
    cookie: Option<HeaderValue>,
    /// What the client asked for, where the service is asked for something else and the cache goes by it.
    target: Option<Uri>,
}

// === impl Passage ===

impl Passage {
    /// Of a request before anything is taken out of it.
    pub(crate) fn new<B>(
        edge: &Arc<Edge>,
        request: &Request<B>,
        address: IpAddr,
        cookie: Option<HeaderValue>,
    ) -> Box<Self> {
        let fields = request.headers();
        let names_host = edge.answer.as_ref().is_some_and(|edits| edits.names_host);
        Box::new(Self {
            address,
            origin: edge.cors.as_ref().and_then(|_| fields.get(ORIGIN).cloned()),
            host: names_host.then(|| headers::host(fields).cloned()).flatten(),
            takes: edge.compress.as_ref().map(|rule| Takes::of(rule, fields)),
            left: None,
            cookie,
            target: edge.cache.as_ref().and(edge.path.as_ref()).map(|_| request.uri().clone()),
            edge: edge.clone(),
        })
    }

    /// Before it is asked whose the request is: what is authorised is what the service gets.
    pub(crate) fn enter<B>(&self, request: &mut Request<B>) -> Result<(), Refusal> {
        match &self.edge.path {
            Some(edit) => path::rewrite(edit, request.uri_mut()).map_err(|bad| Refusal::Unfit(bad.into())),
            None => Ok(()),
        }
    }

    /// Once it is known whose the request is.
    pub(crate) fn pass<B>(
        &mut self,
        request: &mut Request<B>,
        who: Option<&Who>,
        context: &Context,
    ) -> Result<(), Refusal> {
        if let Some(limits) = &self.edge.limits {
            let asking = Asking { address: self.address, who, headers: request.headers() };
            match limits.take(asking) {
                Ok(left) => self.left = Some(left),
                Err(Stopped::Blind(blind)) => return Err(blind.into()),
                Err(Stopped::TooMany(too_many)) => {
                    self.left = Some(too_many.left.clone());
                    return Err(too_many.into());
                }
            }
        }
        if let Some(limit) = self.edge.max_body
            && body_limit::says_more(request.headers(), limit)
        {
            return Err(TooLarge { limit }.into());
        }
        if let Some(edits) = &self.edge.request {
            let host = headers::host(request.headers()).filter(|_| edits.names_host).cloned();
            edits.apply(
                request.headers_mut(),
                Filling { address: self.address, context, host: host.as_ref() },
            );
        }
        Ok(())
    }

    /// What the cache has for the request, if it is the cache's concern: once it may be answered.
    pub(crate) fn look<B: http_body::Body>(&self, request: &Request<B>, known: bool) -> Option<Looked> {
        let cache = self.edge.cache.as_ref()?;
        cache.look(request, self.target.as_ref().unwrap_or(request.uri()), known)
    }

    /// The body as it is sent on, and a copy of the request for whoever gets one.
    pub(crate) fn send(
        &self,
        mirror_client: impl FnOnce() -> Client,
        context: &Context,
        head: &Parts,
        body: Body,
    ) -> Body {
        let body = match self.edge.max_body {
            Some(limit) => Limited::within(limit, body),
            None => body,
        };
        match &self.edge.mirror {
            Some(mirror) if mirror.wants(&head.method, || rand::random_range(0..100)) => {
                mirror.copy(mirror_client, context, head, body)
            }
            _ => body,
        }
    }

    /// Whether an answer is made into another before it is finished.
    pub(crate) fn remakes(&self, answer: &Response<Body>, asker: Asker) -> bool {
        let concerns = |rule| asker.reads_problems() && problems::concerns(rule, answer);
        self.edge.problems.as_ref().is_some_and(concerns)
    }

    /// The other one.
    pub(crate) async fn remade(
        &self,
        answer: Response<Body>,
        asker: Asker,
        context: &Context,
    ) -> Response<Body> {
        let Some(rule) = &self.edge.problems else { return answer };
        let mut answer = problems::made(rule, answer, context).await;
        asker.trim(&mut answer);
        answer
    }

    /// Both of what follows a call, where it is rarely called.
    pub(crate) async fn finished(
        passage: Option<Box<Self>>,
        mut answer: Response<Body>,
        asker: Asker,
        context: &Context,
    ) -> Response<Body> {
        let Some(passage) = passage else { return answer };
        if passage.remakes(&answer, asker) {
            answer = passage.remade(answer, asker, context).await;
        }
        passage.finish(answer, context)
    }

    /// The answer as the client gets it, whoever gave it.
    pub(crate) fn finish(self, mut answer: Response<Body>, context: &Context) -> Response<Body> {
        let Self { edge, address, origin, host, takes, left, cookie, .. } = self;
        let fields = answer.headers_mut();
        if let Some(edits) = &edge.answer {
            edits.apply(fields, Filling { address, context, host: host.as_ref() });
        }
        if let Some(cors) = &edge.cors {
            cors.answer(origin.as_ref(), fields);
        }
        if let (Some(limits), Some(left)) = (&edge.limits, left) {
            fields.insert(RATE_LIMIT_POLICY, limits.policy().clone());
            fields.insert(RATE_LIMIT, left);
        }
        if let Some(cookie) = cookie {
            fields.append(SET_COOKIE, cookie);
        }
        match (&edge.compress, takes) {
            (Some(rule), Some(takes)) => compress::compressed(rule, takes, answer),
            _ => answer,
        }
    }
}

/// Says that another request may get another answer for the sake of this field.
fn vary(fields: &mut HeaderMap, name: HeaderValue) {
    let named = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .any(|it| it.trim() == "*" || it.trim().eq_ignore_ascii_case(name.to_str().unwrap_or_default()))
    };
    if !fields.get_all(VARY).iter().any(named) {
        fields.append(VARY, name);
    }
}
