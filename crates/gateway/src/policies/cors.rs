//! Whose pages may read answers (Fetch Standard, "CORS protocol").
//!
//! What a browser asks before a request, it asks without credentials: it is answered before anybody is asked who they are,
//! and reaches no service.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use madang_model::edge::{Cors as Rule, Origins};

/// A rule, ready to be answered by.
pub(crate) struct Cors {
    rule: Rule,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

/// The method of the request that a browser asks about, if this is such a question.
pub(crate) fn asked_about(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    pub(crate) fn new(rule: &Rule) -> Self {
        let list = |names: &std::collections::BTreeSet<String>| {
            let text = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            (!names.is_empty()).then(|| HeaderValue::try_from(text).ok()).flatten()
        };
        Self {
            methods: list(&rule.methods),
            headers: list(&rule.headers),
            expose: list(&rule.expose),
            max_age: HeaderValue::from(rule.max_age.as_secs()),
            rule: rule.clone(),
        }
    }

    /// Whether pages of this origin may read answers.
    fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.rule.origins {
            Origins::Any(_) => true,
            Origins::These(these) => origin.to_str().is_ok_and(|origin| these.contains(origin)),
        }
    }

    /// Whether the answer is the same for every origin.
    fn is_for_all(&self) -> bool {
        matches!(self.rule.origins, Origins::Any(_))
    }

    /// The answer to what a browser asks before a request; nothing if this origin may not ask.
    pub(crate) fn preflight(&self, asked: &HeaderMap) -> Option<HeaderMap> {
        let origin = asked.get(ORIGIN).filter(|origin| self.allows(origin))?;
        let mut answer = HeaderMap::new();
        self.allow(origin, &mut answer);
        let methods = self.methods.as_ref().or_else(|| asked.get(ACCESS_CONTROL_REQUEST_METHOD))?;
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        if let Some(headers) = self.headers.as_ref().or_else(|| asked.get(ACCESS_CONTROL_REQUEST_HEADERS)) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        let asked_for = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        answer.insert(VARY, HeaderValue::from_static(asked_for));
        Some(answer)
    }

    /// Says in an answer who may read it, whatever its service said.
    pub(crate) fn answer(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let ours = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        // Most services say nothing of it.
        if answer.keys().any(|name| ours(&name)) {
            let said: Vec<HeaderName> = answer.keys().filter(ours).cloned().collect();
            said.iter().for_each(|name| drop(answer.remove(name)));
        }
        if !self.is_for_all() {
            // Also where nobody is told: somebody else would be.
            super::vary(answer, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return };
        self.allow(origin, answer);
        if let Some(expose) = &self.expose {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn allow(&self, origin: &HeaderValue, answer: &mut HeaderMap) {
        let allowed = if self.is_for_all() { HeaderValue::from_static("*") } else { origin.clone() };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        // The manifest has refused credentials for all.
        if self.rule.credentials && !self.is_for_all() {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

#[cfg(test)]
mod tests {
    use madang_model::edge::AnyOrigin;

    use super::*;

    fn cors(origins: Origins, credentials: bool) -> Cors {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Cors::new(&Rule {
            origins,
            methods: names(&[]),
            headers: names(&["x-tenant"]),
            expose: names(&["etag"]),
            credentials,
            max_age: Rule::MAX_AGE,
        })
    }

    fn shop() -> Origins {
        Origins::These(["https://shop.example".to_owned()].into())
    }

    fn question(origin: &str) -> HeaderMap {
        let field = |(name, value): (HeaderName, &str)| (name, value.parse().unwrap());
        [
            (ORIGIN, origin),
            (ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
            (ACCESS_CONTROL_REQUEST_HEADERS, "x-tenant, x-other"),
        ]
        .map(field)
        .into_iter()
        .collect()
    }

    #[test]
    fn a_question_is_told_from_a_request() {
        let question = question("https://shop.example");
        assert_eq!(asked_about(&Method::OPTIONS, &question), Some(Method::PUT));
        assert_eq!(asked_about(&Method::GET, &question), None);
        let mut plain = question.clone();
        plain.remove(ACCESS_CONTROL_REQUEST_METHOD);
        assert_eq!(asked_about(&Method::OPTIONS, &plain), None);
    }

    #[test]
    fn a_question_is_answered_to_pages_that_may_ask() {
        let answer = cors(shop(), true).preflight(&question("https://shop.example")).unwrap();
        for (name, value) in [
            ("access-control-allow-origin", "https://shop.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "PUT"),
            ("access-control-allow-headers", "x-tenant"),
            ("access-control-max-age", "600"),
            ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ] {
            assert_eq!(answer[name], value, "{name}");
        }
        for origin in
            ["https://evil.example", "https://shop.example.evil.example", "null", "http://shop.example"]
        {
            assert!(cors(shop(), true).preflight(&question(origin)).is_none(), "{origin}");
        }
    }

    #[test]
    fn all_may_read_and_none_with_credentials() {
        for credentials in [false, true] {
            let all = cors(Origins::Any(AnyOrigin), credentials);
            let answer = all.preflight(&question("https://any.example")).unwrap();
            assert_eq!(answer["access-control-allow-origin"], "*");
            assert!(!answer.contains_key("access-control-allow-credentials"));
        }
    }

    #[test]
    fn an_answer_says_who_may_read_it_whatever_its_service_says() {
        let origin = HeaderValue::from_static("https://shop.example");
        let said = || -> HeaderMap {
            let field = |(name, value): (&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            [("access-control-allow-origin", "*"), ("vary", "Accept")].map(field).into_iter().collect()
        };
        let mut answer = said();
        cors(shop(), true).answer(Some(&origin), &mut answer);
        assert_eq!(answer["access-control-allow-origin"], "https://shop.example");
        assert_eq!(answer["access-control-expose-headers"], "etag");
        assert!(answer.get_all(VARY).iter().eq(["Accept", "Origin"]));
        let evil = HeaderValue::from_static("https://evil.example");
        for other in [None, Some(&evil)] {
            let mut answer = said();
            cors(shop(), true).answer(other, &mut answer);
            assert!(!answer.contains_key("access-control-allow-origin"));
            assert!(answer.get_all(VARY).iter().any(|vary| vary == "Origin"), "for whoever keeps it");
        }
    }
}
