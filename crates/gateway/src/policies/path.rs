//! What a service is asked for in place of the path.
//!
//! A path that has its one form keeps it: whole segments go and come, and those that come are of unreserved characters.

use http::{Uri, uri::PathAndQuery};
use madang_model::edge::PathEdit;

use crate::path::BadPath;

/// Takes the beginning off, where it is there, and puts another before what is left. The query stays. What is left
/// begins with one slash.
pub(crate) fn rewrite(edit: &PathEdit, uri: &mut Uri) -> Result<(), BadPath> {
    let path = uri.path();
    let strip = edit.strip.as_deref().unwrap_or_default();
    let add = edit.add.as_deref().unwrap_or_default();
    let rest = match path.strip_prefix(strip) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            if add.is_empty() {
                with_one_slash(rest)
            } else {
                rest
            }
        }
        _ => path,
    };
    let slash = if add.is_empty() && rest.is_empty() { "/" } else { "" };
    let (mark, query) = uri.query().map_or(("", ""), |query| ("?", query));
    let target = [add, rest, slash, mark, query].concat();
    *uri = Uri::from(PathAndQuery::try_from(target).map_err(|_| BadPath::TooLong)?);
    Ok(())
}

/// A service that redirects to what it was asked for would send `//host` to that host.
fn with_one_slash(rest: &str) -> &str {
    let after = rest.trim_start_matches('/').len();
    &rest[rest.len().saturating_sub(after + 1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_go_and_come() {
        for (strip, add, from, to) in [
            ("/api", "", "/api/users?q=1", "/users?q=1"),
            ("/api", "", "/api", "/"),
            ("/api", "", "/api?q", "/?q"),
            ("/api", "", "/apis/users", "/apis/users"),
            ("/api", "", "/other", "/other"),
            ("", "/v2", "/users", "/v2/users"),
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2", "/api/", "/v2/"),
            ("/api", "", "/api//other.example/a//b", "/other.example/a//b"),
            ("/api", "", "/api//", "/"),
            ("/api", "/v2", "/api//users", "/v2//users"),
            ("/api/v1", "/v2", "/api/v1/caf%C3%A9", "/v2/caf%C3%A9"),
        ] {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let mut uri = Uri::try_from(from).unwrap();
            rewrite(&PathEdit { strip: some(strip), add: some(add) }, &mut uri).unwrap();
            assert_eq!(uri.to_string(), to, "{from}");
            assert_eq!(crate::path::normalise(uri.path()).unwrap(), uri.path(), "it has its one form");
        }
        let mut uri = Uri::try_from(format!("/{}", "a".repeat(65_000))).unwrap();
        let edit = PathEdit { strip: None, add: Some(format!("/{}", "b".repeat(1000))) };
        assert_eq!(rewrite(&edit, &mut uri), Err(BadPath::TooLong));
    }
}
