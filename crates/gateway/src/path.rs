//! The one form of a path: made once per request, before routing, and what the service gets too.
//!
//! Whoever looks at the path after this — routes, authorisation, the service — sees the same text. The rules:
//!
//! - refused: a malformed `%`-escape, `%00` and other control characters, `%2F`, `%5C`, a raw backslash, a dot
//!   segment with path parameters (`..;x`, `..%3Bx`), and a path that does not start with `/`: software behind the
//!   gateway disagrees about what these mean, and a disagreement is a way around an authorisation rule;
//! - removed: `.` and `..` segments, also when their dots are escaped (RFC 3986, section 5.2.4);
//! - rewritten: an escaped unreserved character becomes that character (`%41` → `A`), other escapes get upper
//!   case digits (`%c3` → `%C3`), and any other byte that no path may hold, such as raw UTF-8, gets escaped;
//! - kept: empty segments (`//`), a slash at the end, path parameters, escaped delimiters (`%3A`), the query.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    #[error("the path does not start with `/`")]
    NotAbsolute,
    #[error("the path has a `%` that two hexadecimal digits do not follow")]
    Escape,
    #[error("the path has a control character")]
    Control,
    #[error("the path has an escaped slash or a backslash")]
    Slash,
    #[error("the path has a dot segment with parameters")]
    DotSegment,
    #[error("the path is too long")]
    TooLong,
}

/// Brings a path into its one form; borrows it if it has that form already.
pub(crate) fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    let bytes = path.as_bytes();
    if in_form(bytes) {
        return Ok(Cow::Borrowed(path));
    }
    let escaped = settle_escapes(bytes)?;
    if escaped.contains("/.") {
        remove_dot_segments(&escaped).map(Cow::Owned)
    } else {
        Ok(Cow::Owned(escaped))
    }
}

/// Whether every byte is plain and no segment begins with a dot, as in nearly every path.
fn in_form(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|&b| {
        let dot = b == b'.' && before == b'/';
        before = b;
        PLAIN[b as usize] && !dot
    })
}

/// RFC 3986 `unreserved`: an escape of one of these means the character itself.
const fn unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// The bytes that a path holds unescaped: RFC 3986 `pchar` and the slash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut b = 0;
    while b < 256 {
        plain[b] = unreserved(b as u8)
            || matches!(b as u8, b'!' | b'$' | b'&'..=b',' | b'/' | b':' | b';' | b'=' | b'@');
        b += 1;
    }
    plain
};

/// Rewrites every escape, and escapes every byte that needs it.
fn settle_escapes(bytes: &[u8]) -> Result<String, BadPath> {
    let mut out = String::with_capacity(bytes.len() + 8);
    let mut rest = bytes;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'%' => {
                let [high, low, after @ ..] = after else { return Err(BadPath::Escape) };
                rest = after;
                match hex(*high)? << 4 | hex(*low)? {
                    b'/' | b'\\' => return Err(BadPath::Slash),
                    control if control.is_ascii_control() => return Err(BadPath::Control),
                    plain if unreserved(plain) => out.push(char::from(plain)),
                    other => escape(&mut out, other),
                }
            }
            b'\\' => return Err(BadPath::Slash),
            control if control.is_ascii_control() => return Err(BadPath::Control),
            plain if PLAIN[plain as usize] => out.push(char::from(plain)),
            other => escape(&mut out, other),
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Result<u8, BadPath> {
    char::from(digit).to_digit(16).map(|d| d as u8).ok_or(BadPath::Escape)
}

/// Writes a byte as `%` and two digits.
pub(crate) fn escape(out: &mut String, b: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(b >> 4)]));
    out.push(char::from(DIGITS[usize::from(b & 15)]));
}

/// Whether it is a dot segment for those who cut parameters off, before they undo escapes or afterwards.
fn has_parameters(segment: &str) -> bool {
    let dots = segment.trim_start_matches('.');
    (1..=2).contains(&(segment.len() - dots.len())) && (dots.starts_with(';') || dots.starts_with("%3B"))
}

/// RFC 3986, section 5.2.4, for a path that starts with a slash.
fn remove_dot_segments(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if last {
                    out.push('/');
                }
            }
            dots if has_parameters(dots) => return Err(BadPath::DotSegment),
            segment => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(given: &str, expected: Result<&str, BadPath>) {
        assert_eq!(normalise(given).as_deref(), expected.as_ref().map(|s| *s), "{given}");
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        for path in ["/", "/users", "/users/1", "/a//b/", "/v1.2/x.json", "/a;b=c/@me:x", "/a/b..c"] {
            assert!(matches!(normalise(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_removed_escaped_or_not() {
        check("/a/../b", Ok("/b"));
        check("/a/./b", Ok("/a/b"));
        check("/a/b/..", Ok("/a/"));
        check("/a/b/.", Ok("/a/b/"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a/.%2e/b", Ok("/b"));
        check("/../../b", Ok("/b"));
        check("/..", Ok("/"));
        check("/.", Ok("/"));
        check("/a//../b", Ok("/a/b"));
        check("/.well-known/x", Ok("/.well-known/x"));
        check("/...", Ok("/..."));
    }

    #[test]
    fn escapes_have_one_spelling() {
        check("/%41%7e", Ok("/A~"));
        check("/caf%c3%a9", Ok("/caf%C3%A9"));
        check("/café", Ok("/caf%C3%A9"));
        check("/마당", Ok("/%EB%A7%88%EB%8B%B9"));
        check("/a%3ab", Ok("/a%3Ab"));
        check("/{a}|\"", Ok("/%7Ba%7D%7C%22"));
        check("/100%25", Ok("/100%25"));
        check("/%252e%252e/", Ok("/%252e%252e/"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        check("/a%2fb", Err(BadPath::Slash));
        check("/a%5Cb", Err(BadPath::Slash));
        check("/a\\b", Err(BadPath::Slash));
        check("/a%00", Err(BadPath::Control));
        check("/a%0d%0aHost:x", Err(BadPath::Control));
        check("/a\u{7f}", Err(BadPath::Control));
        check("/a%", Err(BadPath::Escape));
        check("/a%4", Err(BadPath::Escape));
        check("/a%zz", Err(BadPath::Escape));
        check("/a%+1", Err(BadPath::Escape));
        check("/a/..;/b", Err(BadPath::DotSegment));
        check("/a/.;x=1/b", Err(BadPath::DotSegment));
        check("/a/%2e%2e;/b", Err(BadPath::DotSegment));
        check("/a/..%3b/b", Err(BadPath::DotSegment));
        check("/a/.%3Bx", Err(BadPath::DotSegment));
        check("/a/...;x", Ok("/a/...;x"));
        check("*", Err(BadPath::NotAbsolute));
        check("", Err(BadPath::NotAbsolute));
    }

    proptest! {
        #[test]
        fn the_form_is_final(path in "/[a./%2eEfF5c;\\\\{é]{0,12}") {
            if let Ok(once) = normalise(&path) {
                let twice = normalise(&once);
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|s| s == "." || s == ".."));
            }
        }
    }
}
