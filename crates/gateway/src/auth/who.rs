//! Somebody who is known, and whether what a route asks for holds of them.

use std::collections::{BTreeMap, BTreeSet};

use madang_model::{ClaimPath, Demand, Issuer};
use madang_wire::principal::{FROM_CERTIFICATE, FROM_KEY};
use serde_json::Value;

use crate::login::Person;

use super::{
    api_keys::ApiKey,
    claims::Claims,
    denied::{Bad, Reason},
};
use crate::tls::peer::Peer;

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Who {
    pub(crate) subject: String,
    /// The issuer who says so, or [`FROM_KEY`].
    pub(crate) from: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    /// The claims that services are told of.
    pub(crate) told: BTreeMap<String, Value>,
    /// The claims that routes ask for.
    asked: BTreeMap<ClaimPath, Value>,
}

// === impl Who ===

impl Who {
    /// Whom a token is for; its signature is verified. `asked` are the claims that any route asks for.
    pub(crate) fn of_token(
        issuer: &Issuer,
        claims: &Claims,
        asked: &BTreeSet<ClaimPath>,
    ) -> Result<Self, Bad> {
        let named = |path: &ClaimPath| Some((path.clone(), claims.at(path)?.clone()));
        let told = issuer.claims.iter().filter_map(named).map(|(path, value)| (path.0, value));
        Ok(Self {
            subject: claims.subject()?.to_owned(),
            from: issuer.issuer.clone(),
            scopes: claims.scopes().map(str::to_owned).collect(),
            roles: claims.roles(&issuer.roles).map(str::to_owned).collect(),
            told: told.collect(),
            asked: asked.iter().filter_map(named).collect(),
        })
    }

    /// Whoever is logged in, as tokens said when they did.
    pub(crate) fn of_session(person: Person) -> Self {
        let Person { subject, from, scopes, roles, told, asked } = person;
        let asked = asked.into_iter().map(|(path, value)| (ClaimPath(path), value)).collect();
        Self { subject, from, scopes, roles, told, asked }
    }

    /// Whoever has an API key.
    pub(crate) fn of_key(key: &ApiKey) -> Self {
        Self {
            subject: format!("key:{}", key.name),
            from: FROM_KEY.to_owned(),
            scopes: key.scopes.clone(),
            roles: BTreeSet::new(),
            told: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Whoever has shown a certificate. What it says can be asked for as the claims of a token can.
    pub(crate) fn of_peer(peer: &Peer, asked: &BTreeSet<ClaimPath>) -> Self {
        let named = |path: &ClaimPath| Some((path.clone(), peer.claims.get(&path.0)?.clone()));
        Self {
            subject: peer.subject.clone(),
            from: FROM_CERTIFICATE.to_owned(),
            scopes: BTreeSet::new(),
            roles: BTreeSet::new(),
            told: BTreeMap::new(),
            asked: asked.iter().filter_map(named).collect(),
        }
    }

    /// Says what is missing, if anything is.
    pub(crate) fn meets(&self, demand: &Demand) -> Result<(), Reason> {
        let lacks =
            |lacks: String, scopes: &BTreeSet<String>| Err(Reason::Lacks { lacks, scopes: scopes.clone() });
        if let Some(scope) = demand.scope.iter().find(|scope| !self.scopes.contains(*scope)) {
            return lacks(format!("the scope {scope}"), &demand.scope);
        }
        if !demand.role.is_empty() && demand.role.is_disjoint(&self.roles) {
            let roles = demand.role.iter().map(String::as_str).collect::<Vec<_>>().join(" or ");
            return lacks(format!("the role {roles}"), &BTreeSet::new());
        }
        let has = |(path, values): &(&ClaimPath, &BTreeSet<String>)| {
            self.asked.get(*path).is_some_and(|value| values.iter().any(|wanted| is(value, wanted)))
        };
        match demand.claim.iter().find(|claim| !has(claim)) {
            // Which value would do is nobody's business who has not got it.
            Some((path, _)) => {
                lacks(format!("the value of the claim {} that this route asks for", path.0), &BTreeSet::new())
            }
            None => Ok(()),
        }
    }
}

impl From<Who> for Person {
    fn from(who: Who) -> Self {
        let Who { subject, from, scopes, roles, told, asked } = who;
        let asked = asked.into_iter().map(|(path, value)| (path.0, value)).collect();
        Self { subject, from, scopes, roles, told, asked }
    }
}

/// Whether a claim has a value, or is a list that has it.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
        Value::Number(number) => {
            let written = number.to_string();
            written == wanted
        }
        Value::Array(list) => list.iter().any(|entry| !entry.is_array() && is(entry, wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::testing::issuer;

    fn words(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    fn path(text: &str) -> ClaimPath {
        ClaimPath(text.to_owned())
    }

    fn alice() -> Who {
        let claims = json!({
            "sub": "alice", "scope": "read write", "roles": ["clerk", "boss"],
            "org": { "tenant": "acme" }, "verified": true, "level": 3, "groups": ["a", ["b"]], "secret": "x",
        });
        let Value::Object(claims) = claims else { unreachable!() };
        let asked = ["org.tenant", "verified", "level", "groups", "none"].map(path).into();
        let mut issuer = issuer("https://id.example");
        issuer.claims = [path("org.tenant"), path("none")].into();
        Who::of_token(&issuer, &Claims(claims), &asked).unwrap()
    }

    #[test]
    fn each_scope_one_role_and_each_claim_must_hold() {
        let who = alice();
        let claim = |name: &str, values: &[&str]| Demand {
            claim: [(path(name), words(values))].into(),
            ..Demand::default()
        };
        for (demand, lacks) in [
            (Demand::default(), None),
            (Demand { scope: words(&["read", "write"]), ..Demand::default() }, None),
            (Demand { scope: words(&["read", "write", "x"]), ..Demand::default() }, Some("the scope x")),
            (Demand { role: words(&["boss", "admin"]), ..Demand::default() }, None),
            (Demand { role: words(&["admin", "root"]), ..Demand::default() }, Some("the role admin or root")),
            (claim("org.tenant", &["other", "acme"]), None),
            (claim("verified", &["true"]), None),
            (claim("level", &["3"]), None),
            (claim("groups", &["a"]), None),
            (claim("groups", &["b"]), Some("the value of the claim groups that this route asks for")),
            (claim("none", &["x"]), Some("the value of the claim none that this route asks for")),
            (claim("secret", &["x"]), Some("the value of the claim secret that this route asks for")),
        ] {
            let found = match who.meets(&demand) {
                Err(Reason::Lacks { lacks, .. }) => Some(lacks),
                _ => None,
            };
            assert_eq!(found.as_deref(), lacks, "{demand:?}");
        }
    }

    #[test]
    fn services_are_told_of_the_claims_that_are_named_and_no_others() {
        let who = alice();
        assert_eq!(who.told, [("org.tenant".to_owned(), json!("acme"))].into());
        assert_eq!((who.subject.as_str(), who.from.as_str()), ("alice", "https://id.example"));
    }
}
