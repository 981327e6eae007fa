//! What is asked for: the key of an answer (RFC 9111, section 2), which nothing that a client may choose is left out of.

use std::hash::BuildHasher;

use crate::path;

/// A target with the scheme and the host by which it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place<T = Box<str>> {
    pub(super) secure: bool,
    pub(super) host: T,
    /// The path as it is normalised, and the query as it came.
    pub(super) path: T,
}

impl<T: AsRef<str>> Place<T> {
    pub(super) fn borrowed(&self) -> Place<&str> {
        Place { secure: self.secure, host: self.host.as_ref(), path: self.path.as_ref() }
    }

    pub(super) fn is(&self, other: &Place<&str>) -> bool {
        self.borrowed() == *other
    }

    pub(super) fn len(&self) -> usize {
        self.host.as_ref().len() + self.path.as_ref().len()
    }
}

impl Place<&str> {
    pub(super) fn owned(&self) -> Place {
        Place { secure: self.secure, host: self.host.into(), path: self.path.into() }
    }

    pub(super) fn hash(&self, by: &impl BuildHasher) -> u64 {
        by.hash_one((self.secure, self.host, self.path))
    }
}

/// Where a reference in an answer leads, if that is at the same host (RFC 3986, section 5.2; RFC 9111, section 4.4).
pub(super) fn referred(from: &Place<&str>, reference: &str) -> Option<Place> {
    let scheme = if from.secure { "https://" } else { "http://" };
    // In the form in which requests for it come.
    let at = |target: &str| {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let path = format!("{}{query}", path::normalise(if path.is_empty() { "/" } else { path }).ok()?);
        Some(Place { path: &*path, ..*from }.owned())
    };
    let reference = reference.split('#').next().unwrap_or_default();
    let authority = match reference.get(..scheme.len()) {
        Some(start) if start.eq_ignore_ascii_case(scheme) => Some(&reference[scheme.len()..]),
        _ => reference.strip_prefix("//"),
    };
    if let Some(rest) = authority {
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(path);
        return host.eq_ignore_ascii_case(from.host).then(|| at(path))?;
    }
    let before_query = from.path.split('?').next().unwrap_or_default();
    match reference.chars().next() {
        None => at(from.path),
        Some('/') => at(reference),
        Some('?') => at(&format!("{before_query}{reference}")),
        Some(_) if reference.split(['/', '?']).next().is_some_and(|first| first.contains(':')) => None,
        Some(_) => {
            let folder = &before_query[..=before_query.rfind('/')?];
            at(&format!("{folder}{reference}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_leads_to_the_same_host_or_nowhere() {
        let from = Place { secure: false, host: "a.example:80", path: "/x/y?q=1" };
        for (reference, path) in [
            ("/z", Some("/z")),
            ("/z?a=b#c", Some("/z?a=b")),
            ("z", Some("/x/z")),
            ("../z?k", Some("/z?k")),
            ("?other", Some("/x/y?other")),
            ("", Some("/x/y?q=1")),
            ("http://a.example:80/w", Some("/w")),
            ("HTTP://A.example:80", Some("/")),
            ("//a.example:80/w", Some("/w")),
            ("https://a.example:80/w", None),
            ("http://b.example/w", None),
            ("//b.example/w", None),
            ("mailto:a@b.example", None),
        ] {
            let led = referred(&from, reference);
            assert_eq!(led.as_ref().map(|place| &*place.path), path, "{reference}");
        }
    }
}
