//! What a token says of itself, and whether that lets it in (RFC 7519, section 4.1).

use madang_model::{ClaimPath, Issuer};
use serde_json::{Map, Value};

use super::denied::Bad;

/// The claims of a token.
pub(crate) struct Claims(pub(crate) Map<String, Value>);

/// The longest name of a subject, in bytes.
const SUBJECT: usize = 256;

/// What Keycloak calls its tokens in the claim `typ` that are none of access.
const OTHER_KINDS: [&str; 5] = ["ID", "Refresh", "Offline", "Logout", "Registration"];

impl Claims {
    /// Who says that it is from them; to be believed once the signature is verified.
    pub(crate) fn issuer(&self) -> Result<&str, Bad> {
        self.text("iss").ok_or(Bad::Issuer)
    }

    /// Checks for whom and for when it is, as of `now` in seconds since 1970, and returns when it ends. Whatever costs
    /// little is asked before the signature is verified, which costs much.
    pub(crate) fn check(&self, issuer: &Issuer, now: u64, leeway: u64) -> Result<u64, Bad> {
        if self.text("typ").is_some_and(|kind| OTHER_KINDS.contains(&kind)) {
            return Err(Bad::Kind);
        }
        let ends = self.times(now, leeway)?;
        match self.0.get("aud") {
            Some(audience) if self.is_for(audience, issuer)? => Ok(ends),
            _ => Err(Bad::Audience),
        }
    }

    /// The same of a token that says who logged in (OpenID Connect Core 1.0, section 3.1.3.7): it is for this client, with
    /// the nonce that was sent along, where one was.
    pub(crate) fn check_login(
        &self,
        client: &str,
        nonce: Option<&str>,
        now: u64,
        leeway: u64,
    ) -> Result<u64, Bad> {
        let ends = self.times(now, leeway)?;
        let audience = self.0.get("aud").map(words).unwrap_or_default();
        let others = audience.iter().any(|name| *name != client);
        let party = self.text("azp");
        if !audience.contains(&client) || (others && party.is_none()) || party.is_some_and(|it| it != client)
        {
            return Err(Bad::Audience);
        }
        match nonce {
            Some(nonce) if self.text("nonce") != Some(nonce) => Err(Bad::Nonce),
            _ => Ok(ends),
        }
    }

    fn times(&self, now: u64, leeway: u64) -> Result<u64, Bad> {
        let ends = self.moment("exp")?.ok_or(Bad::NoEnd)?;
        if ends.saturating_add(leeway) <= now {
            return Err(Bad::Expired);
        }
        let begins = self.moment("nbf")?.unwrap_or(0).max(self.moment("iat")?.unwrap_or(0));
        if begins > now.saturating_add(leeway) { Err(Bad::Early) } else { Ok(ends) }
    }

    /// Whose it is.
    pub(crate) fn subject(&self) -> Result<&str, Bad> {
        let subject = self.text("sub").ok_or(Bad::Subject)?;
        let fit = (1..=SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control);
        if fit { Ok(subject) } else { Err(Bad::Subject) }
    }

    /// The scopes that were granted: `scope` of RFC 8693, or `scp` of those who write it so.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        let given = self.0.get("scope").or_else(|| self.0.get("scp")).map(words).unwrap_or_default();
        given.into_iter().flat_map(str::split_ascii_whitespace)
    }

    /// The roles at a place.
    pub(crate) fn roles(&self, at: &ClaimPath) -> impl Iterator<Item = &str> {
        self.at(at).map(words).unwrap_or_default().into_iter()
    }

    /// The claim at a place: the one of this very name, or else the one on this way.
    pub(crate) fn at(&self, path: &ClaimPath) -> Option<&Value> {
        self.0.get(&path.0).or_else(|| {
            let mut names = path.names();
            let first = self.0.get(names.next()?)?;
            names.try_fold(first, |value, name| value.as_object()?.get(name))
        })
    }

    fn is_for(&self, audience: &Value, issuer: &Issuer) -> Result<bool, Bad> {
        let all_texts = audience.as_array().is_none_or(|list| list.iter().all(Value::is_string));
        if !all_texts || !(audience.is_array() || audience.is_string()) {
            return Err(Bad::Claim);
        }
        Ok(words(audience).into_iter().any(|name| issuer.audience.contains(name)))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Seconds since 1970, which may have a fraction.
    fn moment(&self, name: &str) -> Result<Option<u64>, Bad> {
        let Some(given) = self.0.get(name) else { return Ok(None) };
        let fraction = given.as_f64().filter(|seconds| (0.0..1e15).contains(seconds));
        let whole = given.as_u64().or_else(|| fraction.map(|seconds| seconds as u64));
        whole.map(Some).ok_or(if name == "exp" { Bad::NoEnd } else { Bad::Claim })
    }
}

/// A text, or the texts of a list.
pub(super) fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::testing::issuer;

    const NOW: u64 = 1_800_000_000;
    const LEEWAY: u64 = 60;

    /// Good claims, changed by these.
    fn claims(changes: &Value) -> Claims {
        let mut claims =
            json!({ "iss": "https://id.example", "sub": "alice", "aud": "shop", "exp": NOW + 300 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let Value::Object(mut claims) = claims else { unreachable!() };
        claims.retain(|_, value| !value.is_null());
        Claims(claims)
    }

    /// Every row is a change of good claims, and what comes of it.
    #[test]
    fn each_claim_is_held_to_its_rule() {
        let issuer = issuer("https://id.example");
        for (changes, expected) in [
            (json!({}), Ok(NOW + 300)),
            (json!({ "exp": null }), Err(Bad::NoEnd)),
            (json!({ "exp": "soon" }), Err(Bad::NoEnd)),
            (json!({ "exp": (NOW + 300).to_string() }), Err(Bad::NoEnd)),
            (json!({ "exp": -1 }), Err(Bad::NoEnd)),
            (json!({ "exp": 1e300 }), Err(Bad::NoEnd)),
            (json!({ "exp": true }), Err(Bad::NoEnd)),
            (json!({ "exp": 0 }), Err(Bad::Expired)),
            (json!({ "exp": NOW - LEEWAY }), Err(Bad::Expired)),
            (json!({ "exp": NOW - LEEWAY + 1 }), Ok(NOW - LEEWAY + 1)),
            (json!({ "exp": NOW as f64 + 0.9 }), Ok(NOW)),
            (json!({ "nbf": NOW + LEEWAY }), Ok(NOW + 300)),
            (json!({ "nbf": NOW + LEEWAY + 1 }), Err(Bad::Early)),
            (json!({ "nbf": "now" }), Err(Bad::Claim)),
            (json!({ "iat": NOW + LEEWAY }), Ok(NOW + 300)),
            (json!({ "iat": NOW + LEEWAY + 1 }), Err(Bad::Early)),
            (json!({ "iat": [] }), Err(Bad::Claim)),
            (json!({ "aud": null }), Err(Bad::Audience)),
            (json!({ "aud": "cart" }), Err(Bad::Audience)),
            (json!({ "aud": "sho" }), Err(Bad::Audience)),
            (json!({ "aud": "shop cart" }), Err(Bad::Audience)),
            (json!({ "aud": ["cart", "shop"] }), Ok(NOW + 300)),
            (json!({ "aud": [] }), Err(Bad::Audience)),
            (json!({ "aud": ["shop", 7] }), Err(Bad::Claim)),
            (json!({ "aud": { "shop": true } }), Err(Bad::Claim)),
            (json!({ "typ": "Bearer" }), Ok(NOW + 300)),
            (json!({ "typ": "ID" }), Err(Bad::Kind)),
            (json!({ "typ": "Refresh" }), Err(Bad::Kind)),
        ] {
            assert_eq!(claims(&changes).check(&issuer, NOW, LEEWAY), expected, "{changes}");
        }
    }

    #[test]
    fn a_subject_is_a_name() {
        for (given, expected) in [
            (json!("alice"), Ok("alice")),
            (json!("한 사람"), Ok("한 사람")),
            (json!(null), Err(Bad::Subject)),
            (json!(7), Err(Bad::Subject)),
            (json!(""), Err(Bad::Subject)),
            (json!("a\nb"), Err(Bad::Subject)),
            (json!("x".repeat(257)), Err(Bad::Subject)),
        ] {
            assert_eq!(claims(&json!({ "sub": given })).subject(), expected, "{given}");
        }
    }

    #[test]
    fn scopes_and_roles_are_where_issuers_have_them() {
        let of = |given: Value| claims(&given).scopes().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of(json!({ "scope": "a  b:c" })), ["a", "b:c"]);
        assert_eq!(of(json!({ "scp": ["a", "b c"] })), ["a", "b", "c"]);
        assert_eq!(of(json!({ "scope": 7 })), [""; 0]);
        let given = claims(&json!({
            "realm_access": { "roles": ["admin", 7, "clerk"] },
            "https://id.example/roles": "boss",
            "realm_access.names": ["x"],
        }));
        let of = |path: &str| given.roles(&ClaimPath(path.to_owned())).collect::<Vec<_>>();
        assert_eq!(of("realm_access.roles"), ["admin", "clerk"]);
        assert_eq!(of("https://id.example/roles"), ["boss"]);
        assert_eq!(of("realm_access.names"), ["x"], "a name with a dot is found as it is");
        for nowhere in ["roles", "realm_access.roles.admin", "realm_access.none", "realm_access"] {
            assert!(of(nowhere).is_empty(), "{nowhere}");
        }
    }
}
