//! What a request brings to say who it is for.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::denied::Bad;

/// The beginning of every API key.
pub(crate) const KEY: &str = "mk_";

/// The token or key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credential<'a>(pub(crate) &'a str);

impl<'a> Credential<'a> {
    /// The one token or key of a request: `authorization: Bearer …`, or the header of API keys if these are taken.
    /// Another scheme of `authorization` says nothing here.
    pub(crate) fn of(headers: &'a HeaderMap, keys: Option<&HeaderName>) -> Result<Option<Self>, Bad> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let bearer = given.next().map(|value| value.as_bytes()).and_then(bearer);
        if given.next().is_some() {
            return Err(Bad::Several);
        }
        let mut given = keys.into_iter().flat_map(|name| headers.get_all(name));
        let key = given.next().map(|value| value.as_bytes());
        if given.next().is_some() || (bearer.is_some() && key.is_some()) {
            return Err(Bad::Several);
        }
        let Some(text) = bearer.or(key) else { return Ok(None) };
        std::str::from_utf8(text).map(|text| Some(Self(text))).map_err(|_| Bad::Form)
    }

    /// Takes what it is in out of a request: nobody behind the gateway can use it then.
    pub(crate) fn strip(headers: &mut HeaderMap, keys: Option<&HeaderName>) {
        headers.remove(AUTHORIZATION);
        if let Some(name) = keys {
            headers.remove(name);
        }
    }

    /// Whether it is an API key.
    pub(crate) fn is_key(self) -> bool {
        self.0.starts_with(KEY)
    }
}

/// RFC 6750, section 2.1; the name of a scheme is the same in upper and lower case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Option<String>, Bad> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let keys = HeaderName::from_static("x-api-key");
        Credential::of(&headers, Some(&keys)).map(|found| found.map(|it| it.0.to_owned()))
    }

    #[test]
    fn a_request_has_one_credential() {
        let found = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("authorization", "Bearer a.b.c")]), found("a.b.c"));
        assert_eq!(of(&[("authorization", "bearer  mk_1")]), found("mk_1"));
        assert_eq!(of(&[("x-api-key", "mk_1")]), found("mk_1"));
        assert_eq!(of(&[("authorization", "Basic eDp5")]), Ok(None));
        assert_eq!(of(&[("authorization", "Bearer")]), Ok(None));
        assert_eq!(of(&[("authorization", "Basic eDp5"), ("x-api-key", "mk_1")]), found("mk_1"));
        assert_eq!(of(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]), Err(Bad::Several));
        assert_eq!(of(&[("authorization", "Bearer a"), ("x-api-key", "mk_1")]), Err(Bad::Several));
        assert_eq!(of(&[("x-api-key", "mk_1"), ("x-api-key", "mk_1")]), Err(Bad::Several));
        let mut headers: HeaderMap = [(AUTHORIZATION, "Bearer é".parse().unwrap())].into_iter().collect();
        assert!(
            Credential::of(&headers, None).unwrap().is_some(),
            "text is read, and refused where it is used"
        );
        headers.insert(AUTHORIZATION, http::HeaderValue::from_bytes(b"Bearer \xff").unwrap());
        assert_eq!(Credential::of(&headers, None), Err(Bad::Form));
    }
}
