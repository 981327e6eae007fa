//! What the gateway keeps of answers, and forgetting it.

use std::sync::Arc;

use axum::{Json, extract::State};
use madang_gateway::Purge;
use madang_model::nearest;
use madang_wire::{
    Code, Problem,
    cache::{CacheView, CachedRoute, PurgeSpec, Purged},
};

use super::{Answer, Shared};
use crate::http::Failure;

/// What is kept, by route.
#[utoipa::path(get, path = "/v1/cache", responses((status = 200, body = CacheView)))]
pub(super) async fn view(State(node): State<Arc<Shared>>) -> Json<CacheView> {
    Json(node.gateway.cache())
}

/// Forgets what is meant: once this is answered, nobody is given it any more.
#[utoipa::path(post, path = "/v1/cache/purge", request_body = PurgeSpec,
    responses((status = 200, body = Purged), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn purge(
    State(node): State<Arc<Shared>>,
    Json(spec): Json<PurgeSpec>,
) -> Answer<Json<Purged>> {
    let purge = meant(spec)?;
    let routes = node.gateway.cache().routes;
    let name = match &purge {
        Purge::Route(route) => Some(("route", route, known(&routes, |it| &it.route))),
        Purge::Service(service) => Some(("service", service, known(&routes, |it| &it.service))),
        _ => None,
    };
    if let Some((kind, name, known)) = name
        && !known.contains(&&**name)
    {
        let detail = match nearest(name, known.iter().copied()) {
            Some(near) => format!("nothing is kept of a {kind} \"{name}\": did you mean \"{near}\"?"),
            None => format!("nothing is kept of a {kind} \"{name}\": no route to it has `cache`"),
        };
        return Err(Problem::new(Code::UNKNOWN_NAME).detail(detail).into());
    }
    Ok(Json(Purged { entries: node.gateway.purge(&purge) }))
}

fn known<'a>(routes: &'a [CachedRoute], name: impl Fn(&'a CachedRoute) -> &'a String) -> Vec<&'a str> {
    routes.iter().map(|it| name(it).as_str()).collect()
}

/// What is meant, if that is one thing.
fn meant(spec: PurgeSpec) -> Answer<Purge> {
    let PurgeSpec { path, route, service, tag } = spec;
    match (path, route, service, tag) {
        (None, None, None, None) => Ok(Purge::All),
        (Some(path), None, None, None) if path.starts_with('/') => Ok(Purge::Path(path)),
        (Some(_), None, None, None) => Err(Failure::parameter("path", "it starts with a slash")),
        (None, Some(route), None, None) => Ok(Purge::Route(route)),
        (None, None, Some(service), None) => Ok(Purge::Service(service)),
        (None, None, None, Some(tag)) => Ok(Purge::Tag(tag)),
        _ => Err(Failure::parameter("path", "one of path, route, service and tag")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_meant_or_all() {
        let spec = |path: &str, tag: &str| PurgeSpec {
            path: (!path.is_empty()).then(|| path.to_owned()),
            tag: (!tag.is_empty()).then(|| tag.to_owned()),
            ..PurgeSpec::default()
        };
        assert_eq!(meant(spec("", "")).unwrap(), Purge::All);
        assert_eq!(meant(spec("/a/**", "")).unwrap(), Purge::Path("/a/**".into()));
        assert_eq!(meant(spec("", "news")).unwrap(), Purge::Tag("news".into()));
        for bad in [spec("a", ""), spec("/a", "news")] {
            let Failure(problem) = meant(bad).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, "path"));
        }
    }
}
