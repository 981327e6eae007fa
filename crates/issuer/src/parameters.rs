//! The parameters of a request, each at most once (RFC 6749, section 3.1).

use std::collections::{BTreeMap, BTreeSet};

/// The parameters of a query or a form; one without a value is absent.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads them; gives the name of one that is there twice.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if all.insert(name.to_string(), value.to_string()).is_some() {
                return Err(name.into_owned());
            }
        }
        all.retain(|_, value| !value.is_empty());
        Ok(Self(all))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Words with blanks between them.
    pub(crate) fn words(&self, name: &str) -> BTreeSet<String> {
        self.get(name).unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once() {
        let read = Parameters::read(b"a=1&b=&scope=x++y%20x").unwrap();
        assert_eq!((read.get("a"), read.get("b"), read.get("c")), (Some("1"), None, None));
        assert!(read.words("scope").iter().eq(["x", "y"]) && read.words("none").is_empty());
        assert_eq!(Parameters::read(b"a=1&b=2&a=1"), Err("a".to_owned()));
    }
}
