//! Path patterns of routes: `/users/{id}`, `/users/*/orders`, `/users/**`.

use super::{
    error::Code,
    format::{Unfit, unfit},
    variables,
};

const HELP: &str =
    "a path is `/users/{id}`, `/users/*/orders` or `/users/**`, which matches `/users` and all below it";

/// Whether a text is a path pattern.
pub(super) fn check(text: &str) -> Result<(), Unfit> {
    let bad = |why: String| unfit(Code::BAD_PATH, why, HELP);
    let Some(rest) = text.strip_prefix('/') else {
        return unfit(Code::BAD_PATH, "a path starts with `/`", format!("write \"/{text}\""));
    };
    if rest.is_empty() {
        return Ok(());
    }
    let mut names = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_none() => {
                let help =
                    format!("write \"{0}\", or \"{0}/**\" for all below it too", text.trim_end_matches('/'));
                return unfit(Code::BAD_PATH, "it ends with an empty segment", help);
            }
            "" => return bad("it has an empty segment (`//`)".into()),
            "*" => {}
            "**" if segments.peek().is_some() => return bad("`**` can only be the last segment".into()),
            "**" => {}
            _ => match parameter(segment) {
                Some(name) if names.contains(&name) => {
                    return bad(format!("it has the parameter `{name}` twice"));
                }
                Some(name) => names.push(name),
                None if segment.contains(['*', '{', '}']) => {
                    return bad(format!(
                        "`{segment}` is not a whole segment: `{{name}}`, `*` and `**` stand for one"
                    ));
                }
                None => literal(segment)
                    .or_else(|why| bad(format!("`{segment}` is no segment of a path: {why}")))?,
            },
        }
    }
    Ok(())
}

/// The name in `{name}`.
fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    variables::is_variable(name).then_some(name)
}

/// A segment without wildcards that a request can have once the gateway has brought its path into one form.
fn literal(segment: &str) -> Result<(), &'static str> {
    let dots = segment.replace("%2e", ".").replace("%2E", ".");
    if matches!(dots.split(';').next(), Some("." | "..")) {
        return Err("`.` and `..` are resolved before routes are matched");
    }
    if segment.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '\\')) {
        return Err("it holds a space, a control character, `?`, `#` or a backslash");
    }
    for (at, _) in segment.match_indices('%') {
        let escape =
            segment.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            None => return Err("two hexadecimal digits follow a `%`"),
            Some(b) if b.is_ascii_control() || matches!(b, b'/' | b'\\') => {
                return Err("requests with an escaped slash, backslash or control character are refused");
            }
            Some(_) => {}
        }
    }
    Ok(())
}
