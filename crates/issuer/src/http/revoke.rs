//! A client ends a token (RFC 7009), or asks whether one holds (RFC 7662).

use axum::{Extension, Json, body::Bytes, extract::State};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Now;
use crate::{Issuer, client, parameters::Parameters, refused::Refused, tokens};

/// What is not known has ended already: that is no error. With a token of access ends what it came from; it is itself good
/// to its end.
pub(super) async fn revoke(
    State(issuer): State<Issuer>,
    Extension(settings): Now,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let parameters = Parameters::read(&body).map_err(|_| Refused::Request("a parameter is there twice"))?;
    let (name, _) = client::of(&settings, &headers, &parameters)?;
    let token = parameters.get("token").ok_or(Refused::Request("token is missing"))?;
    let claims = issuer.inner.keys.verified(tokens::ACCESS, token);
    let family = match &claims {
        Some(claims) => claims["sid"].as_str(),
        None => token.split_once('.').map(|(family, _)| family),
    };
    if let Some(family) = family {
        issuer.inner.families.end(family, name).await?;
    }
    Ok(StatusCode::OK)
}

pub(super) async fn introspect(
    State(issuer): State<Issuer>,
    Extension(settings): Now,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let parameters = Parameters::read(&body).map_err(|_| Refused::Request("a parameter is there twice"))?;
    let (name, client) = client::of(&settings, &headers, &parameters)?;
    if client.secret.is_none() {
        // Whoever finds a token must not learn here whose it is.
        return Err(Refused::Client);
    }
    let token = parameters.get("token").ok_or(Refused::Request("token is missing"))?;
    if let Some(mut claims) = tokens::holding(&issuer.inner, &settings, token).await {
        claims["active"] = true.into();
        claims["token_type"] = "Bearer".into();
        return Ok(Json(claims));
    }
    let Some((family, secret)) = token.split_once('.') else { return Ok(Json(json!({ "active": false }))) };
    let known = issuer.inner.families.known(family, Some(secret), issuer.inner.now()).await?;
    // A refresh token is of use to its client alone.
    Ok(Json(match known.filter(|granted| granted.client == name) {
        Some(granted) => json!({
            "active": true, "sub": granted.person.subject, "client_id": granted.client,
            "scope": tokens::words(&granted.scope), "iss": settings.name,
        }),
        None => json!({ "active": false }),
    }))
}
