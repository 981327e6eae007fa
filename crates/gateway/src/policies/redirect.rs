//! Routes that the gateway answers itself with where to go instead.

use http::{HeaderValue, StatusCode, Uri};
use madang_model::{Redirect, edge::RedirectPart};

/// Where a route sends whoever asks.
pub(crate) struct Elsewhere {
    status: StatusCode,
    redirect: Redirect,
    /// How many segments of the route's path come before its `**`.
    before_rest: usize,
}

impl Elsewhere {
    pub(crate) fn new(redirect: &Redirect, template: &str) -> Self {
        let before_rest = template.split('/').skip(1).take_while(|segment| *segment != "**").count();
        let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::PERMANENT_REDIRECT);
        Self { status, redirect: redirect.clone(), before_rest }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Where a request for this target is sent. Its path has its one form.
    pub(crate) fn location(&self, uri: &Uri) -> HeaderValue {
        let mut text = String::new();
        for part in &self.redirect.to.parts {
            match part {
                RedirectPart::Text(fixed) => text.push_str(fixed),
                RedirectPart::Path => text.push_str(uri.path()),
                RedirectPart::Rest => text.push_str(rest(uri.path(), self.before_rest)),
                RedirectPart::Query => {
                    if let Some(query) = uri.query() {
                        text.push('?');
                        text.push_str(query);
                    }
                }
            }
        }
        let base = self.redirect.to.base.as_deref().unwrap_or_default();
        if base.is_empty() {
            // What begins with two slashes names a host (RFC 3986, section 4.2), which whoever asks would choose.
            let path = text.trim_start_matches('/');
            text = format!("/{path}");
        }
        HeaderValue::try_from(format!("{base}{text}")).unwrap_or_else(|_| HeaderValue::from_static("/"))
    }
}

/// What follows so many segments, without the slash before it.
fn rest(path: &str, segments: usize) -> &str {
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    for _ in 0..segments {
        rest = rest.split_once('/').map_or("", |(_, rest)| rest);
    }
    rest
}

#[cfg(test)]
mod tests {
    use madang_model::edge::RedirectTarget;

    use super::*;

    #[test]
    fn whoever_asks_chooses_the_path_and_never_the_host() {
        for (template, to, asked, location) in [
            ("/old/**", "/new/{rest}{query}", "/old/a/b?q=1", "/new/a/b?q=1"),
            ("/old/**", "/new/{rest}{query}", "/old", "/new/"),
            ("/old", "https://new.example", "/old", "https://new.example"),
            ("/**", "https://new.example{path}{query}", "/a?b", "https://new.example/a?b"),
            ("/**", "/{rest}", "//evil.example/x", "/evil.example/x"),
            ("/**", "{path}", "//evil.example/x", "/evil.example/x"),
            ("/**", "https://new.example{path}", "//evil.example", "https://new.example//evil.example"),
            ("/old/**", "/{rest}", "/old//evil.example", "/evil.example"),
            ("/a/{id}/**", "/b/{rest}", "/a/1/c", "/b/c"),
        ] {
            let redirect = Redirect { status: 308, to: RedirectTarget::parse(to).unwrap() };
            let elsewhere = Elsewhere::new(&redirect, template);
            assert_eq!(elsewhere.location(&asked.parse().unwrap()), location, "{asked}");
        }
    }
}
