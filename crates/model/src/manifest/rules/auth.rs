//! Where a route asks who the client is, somebody can say it, and one request is asked one thing.

use std::collections::HashMap;

use crate::{
    ApiKeys, Require, ServiceName,
    manifest::{
        auth::RawRequire,
        error::{Code, Found, ManifestError},
        plan,
        raw::{RawRoute, RawSystem},
        source::{At, Spot},
    },
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    if let Some(auth) = &raw.auth {
        let keys = auth.keys.as_ref().and_then(|keys| keys.value.as_ref().map(|header| (header, &keys.spot)));
        let others = [&auth.certificates, &auth.built_in].into_iter().flatten().any(|at| at.value);
        if auth.sound && auth.issuers.is_empty() && keys.is_none() && !others {
            found.push(nobody(&auth.spot));
        }
        if let Some((header, spot)) = keys.filter(|(header, _)| !ApiKeys::may_be_in(header)) {
            found.push(header_of_another(header, spot));
        }
    }
    issuers(raw, found);
    for required in requires(raw) {
        match &required.value {
            Require::Of(demand)
                if demand.is_empty() || demand.claim.values().any(|values| values.is_empty()) =>
            {
                found.push(empty(&required.spot));
            }
            Require::Optional | Require::Principal | Require::Of(_) if !raw.has_auth => {
                found.push(unasked(&required.spot));
            }
            _ => {}
        }
    }
    for route in plan::routes(raw) {
        divided(raw, route, found);
    }
}

/// Everything that is asked for, route by route and service by service.
fn requires(raw: &RawSystem) -> impl Iterator<Item = &RawRequire> {
    let services = raw.services.iter().filter_map(|service| service.require.as_ref());
    services.chain(plan::routes(raw).into_iter().filter_map(|route| route.require.as_ref()))
}

fn issuers(raw: &RawSystem, found: &mut Found) {
    let mut seen: HashMap<&str, &Spot> = HashMap::new();
    for issuer in raw.auth.iter().flat_map(|auth| &auth.issuers) {
        let At { value, spot } = &issuer.issuer;
        if let Some(first) = seen.insert(value, spot) {
            found.push(
                ManifestError::new(Code::SAID_TWICE, format!("the issuer {value} is given twice"))
                    .at(spot, "the second time")
                    .also(first, "the first")
                    .hint("keep one of them; for several audiences write audience = [\"…\", \"…\"]"),
            );
        }
        if let Some(spot) = &issuer.nobody {
            found.push(
                ManifestError::new(Code::BAD_VALUE, "`audience` cannot be empty")
                    .at(spot, "no token is for nobody")
                    .hint("write what the tokens have in `aud`, such as \"shop\": without it a token that was made for another system would be good here"),
            );
        }
    }
}

fn nobody(spot: &Spot) -> ManifestError {
    ManifestError::new(Code::NOBODY_KNOWS, "nothing says who can tell who a client is")
        .at(spot, "neither issuers nor keys")
        .hint("add issuers = [{ issuer = \"https://id.example\", audience = \"shop\" }], or keys = true for those that `madang key create` makes")
}

fn unasked(spot: &Spot) -> ManifestError {
    ManifestError::new(Code::NOBODY_KNOWS, "a client is asked who it is, and nobody can tell")
        .at(spot, "needs [gateway.auth]")
        .hint("add to madang.toml: [gateway.auth] with issuers = [{ issuer = \"https://id.example\", audience = \"shop\" }] or keys = true")
}

fn empty(spot: &Spot) -> ManifestError {
    ManifestError::new(Code::BAD_VALUE, "`require` names nothing that must hold")
        .at(spot, "asks for nothing")
        .hint("write \"principal\" for whoever is known, \"none\" for everybody, or what must hold: { scope = \"orders:write\" }, { role = \"admin\" }, { claim = { tenant = \"acme\" } }")
}

fn header_of_another(header: &str, spot: &Spot) -> ManifestError {
    ManifestError::new(Code::BAD_VALUE, format!("API keys cannot be in the header `{header}`"))
        .at(spot, "means something else there, or does not reach the gateway")
        .hint("write another, such as header = \"x-api-key\"; `authorization: Bearer` takes them anyway")
}

/// A route that divides its requests asks the same of each.
fn divided(raw: &RawSystem, route: &RawRoute, found: &mut Found) {
    if route.require.is_some() || !route.sound {
        return;
    }
    let of = |name: &ServiceName| {
        raw.services.iter().find(|service| service.name.value == *name).and_then(|it| it.require.as_ref())
    };
    let mut targets = route.to.iter().filter(|to| to.weight.value > 0).map(|to| (of(&to.service.value), to));
    let Some((first, _)) = targets.next() else { return };
    let value = |required: Option<&RawRequire>| required.map(|it| it.value.clone());
    if let Some((other, to)) = targets.find(|(other, _)| value(*other) != value(first)) {
        let spot = other.or(first).map_or(&to.service.spot, |it| &it.spot);
        found.push(
            ManifestError::new(
                Code::CONTRADICTION,
                format!("the route {} asks different things of the same requests", route.path),
            )
            .at(&route.spot, "leads to services that do not agree")
            .also(spot, "one of them says this")
            .hint("say in the route what it asks for: require = \"principal\", or what must hold"),
        );
    }
}
