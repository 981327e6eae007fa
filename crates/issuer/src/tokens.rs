//! What tokens say.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{Settings, families::Granted, issuer::Inner, random};

/// The kinds of token: of access (RFC 9068), and that says who logged in.
pub(crate) const ACCESS: &str = "at+jwt";
pub(crate) const ID: &str = "JWT";

/// Claims that are the issuer's to say: nobody who checks passwords can.
const RESERVED: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "scp",
    "sid",
    "nonce",
    "auth_time",
    "azp",
    "at_hash",
    "c_hash",
    "acr",
    "typ",
];

/// What is said of a token beside whom it is for.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: u64,
    /// The family that it belongs to, if more follow.
    pub(crate) family: Option<&'a str>,
}

/// A token of access for a client itself.
pub(crate) fn of_client(
    inner: &Inner,
    about: About<'_>,
    client: &str,
    scope: &BTreeSet<String>,
) -> Option<String> {
    let claims = access(about, &format!("client:{client}"), client, scope)?;
    inner.keys.sign(ACCESS, &Value::Object(claims), about.now)
}

/// A token of access for somebody.
pub(crate) fn of_person(inner: &Inner, about: About<'_>, granted: &Granted) -> Option<String> {
    let mut claims = access(about, &granted.person.subject, &granted.client, &granted.scope)?;
    claims.insert("auth_time".to_owned(), granted.at.into());
    claims.extend(told(&granted.person.claims));
    inner.keys.sign(ACCESS, &Value::Object(claims), about.now)
}

/// A token that says who logged in (OpenID Connect Core 1.0, section 2). It opens nothing.
pub(crate) fn of_login(
    inner: &Inner,
    about: About<'_>,
    granted: &Granted,
    nonce: Option<&str>,
) -> Option<String> {
    let About { settings, now, family } = about;
    let claims = json!({
        "iss": settings.name, "sub": granted.person.subject, "aud": granted.client, "iat": now,
        "exp": now + settings.lifetime.as_secs(), "auth_time": granted.at, "nonce": nonce, "sid": family, "typ": "ID",
    });
    let Value::Object(mut claims) = claims else { return None };
    claims.retain(|_, value| !value.is_null());
    claims.extend(told(&granted.person.claims));
    inner.keys.sign(ID, &Value::Object(claims), now)
}

fn access(
    about: About<'_>,
    subject: &str,
    client: &str,
    scope: &BTreeSet<String>,
) -> Option<Map<String, Value>> {
    let About { settings, now, family } = about;
    let claims = json!({
        "iss": settings.name, "sub": subject, "aud": settings.audience, "client_id": client, "iat": now,
        "exp": now + settings.lifetime.as_secs(), "jti": random::text().ok()?, "scope": words(scope), "sid": family,
    });
    let Value::Object(mut claims) = claims else { return None };
    claims.retain(|_, value| !value.is_null());
    Some(claims)
}

/// What is said of a person besides.
pub(crate) fn told(claims: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    let kept = claims.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone()))
}

/// The claims of a token of access that holds now.
pub(crate) async fn holding(inner: &Inner, settings: &Settings, token: &str) -> Option<Value> {
    let claims = inner.keys.verified(ACCESS, token)?;
    let now = inner.now();
    if claims["iss"] != settings.name.as_str() || claims["exp"].as_u64().is_none_or(|ends| ends <= now) {
        return None;
    }
    if let Some(family) = claims["sid"].as_str()
        && inner.families.known(family, None, now).await.ok()?.is_none()
    {
        return None;
    }
    Some(claims)
}

pub(crate) fn words(scope: &BTreeSet<String>) -> String {
    scope.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}
