//! Making, listing and revoking API keys, and changing the one that the built-in issuer signs with.

use std::sync::Arc;

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};
use http::StatusCode;
use madang_model::{ServiceName, manifest, nearest, parse_duration};
use madang_wire::{
    Code, Problem,
    keys::{KeySpec, KeyView, NewKey, SigningKey},
};

use super::{Answer, Shared, unread};
use crate::{
    api_keys::NotMade,
    http::Failure,
    node::{now, with_causes},
    peer::Peer,
};

/// How many scopes a key may have, and how long it may last at most, in days.
const SCOPES: usize = 64;
const DAYS: u64 = 3660;

/// The API keys, by name; also those that have expired.
#[utoipa::path(get, path = "/v1/keys", responses((status = 200, body = Vec<KeyView>)))]
pub(super) async fn list(State(node): State<Arc<Shared>>) -> Json<Vec<KeyView>> {
    Json(node.api_keys.list())
}

/// Makes an API key. Its text is in the answer and nowhere else: what is kept is a hash of it.
#[utoipa::path(post, path = "/v1/keys", request_body = KeySpec,
    responses((status = 201, body = NewKey), (status = 400, body = Problem)))]
pub(super) async fn create(
    State(node): State<Arc<Shared>>,
    ConnectInfo(Peer(by)): ConnectInfo<Peer>,
    Json(asked): Json<KeySpec>,
) -> Answer<(StatusCode, Json<NewKey>)> {
    let (view, key) = node.api_keys.make(checked(asked, by, now())?).await.map_err(|error| match error {
        NotMade::Taken | NotMade::Full => Failure::parameter("name", &error.to_string()),
        NotMade::State(_) | NotMade::Randomness(_) => {
            Problem::new(Code::INTERNAL).detail(with_causes(&error)).into()
        }
    })?;
    let auth = node.system.borrow().gateway.auth.clone();
    let taken = auth.is_some_and(|auth| auth.keys.is_some());
    Ok((StatusCode::CREATED, Json(NewKey { key, view, taken })))
}

/// Revokes an API key, by its name or id: once this is answered it is good for nothing.
#[utoipa::path(delete, path = "/v1/keys/{name}", params(("name" = String, Path)),
    responses((status = 200, body = KeyView), (status = 404, body = Problem)))]
pub(super) async fn revoke(
    State(node): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Answer<Json<KeyView>> {
    let gone = node.api_keys.revoke(&name).await.map_err(|error| unread(&error))?;
    gone.map(Json).ok_or_else(|| {
        let known = node.api_keys.list();
        let detail = match nearest(&name, known.iter().map(|view| view.name.as_str())) {
            Some(near) => format!("there is no API key \"{name}\": did you mean \"{near}\"?"),
            None => format!("there is no API key \"{name}\""),
        };
        Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
    })
}

/// Has the built-in issuer sign with a new key from now on. Tokens that were signed before stay good to their end.
#[utoipa::path(post, path = "/v1/issuer/keys",
    responses((status = 201, body = SigningKey), (status = 404, body = Problem)))]
pub(super) async fn rotate(State(node): State<Arc<Shared>>) -> Answer<(StatusCode, Json<SigningKey>)> {
    let Some(issuer) = node.system.borrow().issuer.as_ref().map(|issuer| issuer.name()) else {
        let detail = "this system has no issuer of its own: the manifest has no [issuer]";
        return Err(Problem::new(Code::UNKNOWN_NAME).detail(detail).into());
    };
    let kid = node.issuer.rotate().await;
    let kid = kid.map_err(|error| Problem::new(Code::INTERNAL).detail(with_causes(&error)))?;
    Ok((StatusCode::CREATED, Json(SigningKey { kid, issuer })))
}

/// What was asked for, if there can be such a key.
fn checked(asked: KeySpec, by: String, now: u64) -> Answer<KeyView> {
    let KeySpec { name, mut scopes, lasts } = asked;
    let bad = |field: &str, why: &str| Failure::parameter(field, why);
    let name: ServiceName =
        name.parse().map_err(|error: madang_model::InvalidName| bad("name", &error.to_string()))?;
    if scopes.len() > SCOPES {
        return Err(bad("scopes", &format!("a key has {SCOPES} scopes at most")));
    }
    for scope in &scopes {
        manifest::check_scope(scope).map_err(|why| bad("scopes", &format!("\"{scope}\": {why}")))?;
    }
    scopes.sort();
    scopes.dedup();
    let lasts = lasts.map(|lasts| parse_duration(&lasts)).transpose();
    let lasts = lasts.map_err(|_| bad("lasts", "a whole number and a unit, such as 12h or 90d"))?;
    if lasts.is_some_and(|lasts| lasts.as_secs() == 0 || lasts.as_secs() > DAYS * 86_400) {
        return Err(bad("lasts", &format!("at least 1s and at most {DAYS}d")));
    }
    let expires_at = lasts.map(|lasts| now + u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
    Ok(KeyView { name: name.to_string(), id: String::new(), scopes, created_at: now, by, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, scopes: &[&str], lasts: Option<&str>) -> KeySpec {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        KeySpec { name: name.to_owned(), scopes, lasts: lasts.map(str::to_owned) }
    }

    #[test]
    fn a_key_has_a_name_scopes_and_an_end() {
        let view = checked(spec("ci", &["b", "a", "b"], Some("2h")), "user 0".into(), 1000).unwrap();
        assert_eq!((view.scopes, view.expires_at), (vec!["a".to_owned(), "b".to_owned()], Some(7_201_000)));
        assert_eq!(checked(spec("ci", &[], None), "user 0".into(), 1000).unwrap().expires_at, None);
        for (spec, field) in [
            (spec("", &[], None), "name"),
            (spec("C I", &[], None), "name"),
            (spec("ci", &["a b"], None), "scopes"),
            (spec("ci", &["a"; SCOPES + 1], None), "scopes"),
            (spec("ci", &[], Some("soon")), "lasts"),
            (spec("ci", &[], Some("0s")), "lasts"),
            (spec("ci", &[], Some("3661d")), "lasts"),
        ] {
            let Failure(problem) = checked(spec, "user 0".into(), 0).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field));
        }
    }
}
