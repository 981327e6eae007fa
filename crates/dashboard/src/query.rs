//! The query of a page: its filters, read with mercy, as people edit them by hand.

/// The parameters of a page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// From the text behind the `?`.
    pub(crate) fn new(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.trim().to_owned())).collect())
    }

    /// The first value of a parameter, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        found.next().map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that is not empty.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a box was ticked.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "on" | "1"))
    }

    /// A value of a kind; absent also if it is none.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

/// A path with parameters, those left out that are not there.
pub(crate) fn with(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A name as a segment of a path.
pub(crate) fn segment(name: &str) -> String {
    // What a form encodes is more than a path needs, but for the blank.
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_absent() {
        let query = Query::new("service=users&service=&level=&n=x&error=on&q=a%20b+c");
        assert_eq!(query.all("service").collect::<Vec<_>>(), ["users"]);
        assert_eq!((query.get("level"), query.get("q")), (None, Some("a b c")));
        assert_eq!((query.parsed::<u32>("n"), query.is_set("error")), (None, true));
        assert_eq!(with("/logs", &[("q", Some("a b&")), ("x", None), ("y", Some(""))]), "/logs?q=a+b%26");
        assert_eq!(with("/logs", &[("x", None)]), "/logs");
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
    }
}
