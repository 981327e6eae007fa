//! `${NAME}` and `${NAME:-default}` when the manifest is loaded, `${self.…}` and `${services.…}` when a unit starts;
//! `$$` is a dollar sign.
//!
//! A text of `run` or `env` passes both: what the first leaves for the second stays escaped, also when it
//! came out of a variable, so that a value is never read as a placeholder.

use crate::ServiceName;

/// What a unit knows of itself when it starts: `${self.port}` and so on.
pub(super) const SELF: [&str; 5] = ["port", "unit", "service", "instance", "release"];

/// Why a `${…}` has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The variable is not set and has no default.
    Unset(String),
    /// It is not a variable: no end, an empty name, a strange character.
    Malformed,
    /// `${self.…}` or `${services.…}` where only values known at load can stand.
    TooEarly,
    /// `${self.x}` with an `x` that nobody knows.
    UnknownSelf(String),
    /// `${services.…}` that is not `${services.NAME.url}`.
    UnknownOfService,
    /// `${secret.…}`.
    Secret,
}

/// A text between dollar signs.
enum Part<'a> {
    Text(&'a str),
    /// `$$`
    Dollar,
    /// `${…}`: all of it, and what is inside.
    Reference(&'a str, &'a str),
    /// `${` without its end.
    Open(&'a str),
}

/// Splits a text; a `$` before anything else than `{` or `$` is text.
fn parts(mut text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some(at) =
        text.match_indices('$').map(|(at, _)| at).find(|at| text[at + 1..].starts_with(['$', '{']))
    {
        parts.push(Part::Text(&text[..at]));
        text = &text[at..];
        if let Some(rest) = text.strip_prefix("$$") {
            parts.push(Part::Dollar);
            text = rest;
        } else if let Some(end) = text.find('}') {
            parts.push(Part::Reference(&text[..=end], &text[2..end]));
            text = &text[end + 1..];
        } else {
            parts.push(Part::Open(text));
            return parts;
        }
    }
    parts.push(Part::Text(text));
    parts
}

/// Substitutes the variables of a text at load. If `deferred`, placeholders and escapes stay for the start.
/// Gives every fault with the text that has it.
pub(super) fn substitute(
    text: &str,
    deferred: bool,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<(String, Fault)>> {
    let mut out = String::with_capacity(text.len());
    let mut faults = Vec::new();
    for part in parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push_str(if deferred { "$$" } else { "$" }),
            Part::Open(written) => faults.push((written.to_owned(), Fault::Malformed)),
            Part::Reference(written, body) => match resolve(body, deferred, env) {
                Ok(Some(value)) if deferred => out.push_str(&value.replace('$', "$$")),
                Ok(Some(value)) => out.push_str(&value),
                Ok(None) => out.push_str(written),
                Err(fault) => faults.push((written.to_owned(), fault)),
            },
        }
    }
    if faults.is_empty() { Ok(out) } else { Err(faults) }
}

/// The value of what stands in braces; `None` if it stays for the start.
fn resolve(
    body: &str,
    deferred: bool,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, Fault> {
    match Placeholder::of(body) {
        Some(Placeholder::Own(name)) if !SELF.contains(&name) => {
            return Err(Fault::UnknownSelf(name.to_owned()));
        }
        Some(_) if deferred => return Ok(None),
        Some(_) => return Err(Fault::TooEarly),
        None if body.starts_with("services.") => return Err(Fault::UnknownOfService),
        None => {}
    }
    if body.starts_with("secret.") {
        return Err(Fault::Secret);
    }
    let (name, default) = match body.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (body, None),
    };
    if !is_variable(name) || default.is_some_and(|default| default.contains("${")) {
        return Err(Fault::Malformed);
    }
    match (env(name), default) {
        (Some(value), None) => Ok(Some(value)),
        (Some(value), Some(_)) if !value.is_empty() => Ok(Some(value)),
        (_, Some(default)) => Ok(Some(default.to_owned())),
        (None, None) => Err(Fault::Unset(name.to_owned())),
    }
}

/// Whether a text can be the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A value in `run` or `env` that is known only when an instance starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// `${self.port}` and the like: something that the instance knows of itself.
    Own(&'a str),
    /// `${services.users.url}`: the URL at which its unit calls a service.
    Url(ServiceName),
}

impl<'a> Placeholder<'a> {
    /// The placeholder that stands in braces, if it is one.
    fn of(body: &'a str) -> Option<Self> {
        let of_service = || body.strip_prefix("services.")?.strip_suffix(".url")?.parse().ok();
        body.strip_prefix("self.").map(Self::Own).or_else(|| of_service().map(Self::Url))
    }
}

/// The placeholders of a text, each with how it is written.
pub(super) fn placeholders_in(text: &str) -> impl Iterator<Item = (&str, Placeholder<'_>)> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Reference(written, body) => Some((written, Placeholder::of(body)?)),
        _ => None,
    })
}

/// A placeholder that has no value when an instance starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no value for the placeholder {0}")]
pub struct UnknownPlaceholder(String);

/// Resolves the placeholders of a unit's `run` or `env` when an instance starts. `$$` becomes a dollar sign.
pub fn placeholders(
    text: &str,
    lookup: impl Fn(&Placeholder) -> Option<String>,
) -> Result<String, UnknownPlaceholder> {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push('$'),
            Part::Open(written) => return Err(UnknownPlaceholder(written.to_owned())),
            Part::Reference(written, body) => match Placeholder::of(body).as_ref().and_then(&lookup) {
                Some(value) => out.push_str(&value),
                None => return Err(UnknownPlaceholder(written.to_owned())),
            },
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/a".into()),
            "EMPTY" => Some(String::new()),
            "COST" => Some("$5 ${self.port}".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOME}/x", "/home/a/x"),
            ("${NONE:-d}${EMPTY:-e}${EMPTY}", "de"),
            ("${NONE:-}", ""),
            ("a$b $ $$ $${HOME}", "a$b $ $ ${HOME}"),
            ("한${HOME}글", "한/home/a글"),
            ("end$", "end$"),
        ] {
            assert_eq!(substitute(text, false, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn faults_are_all_named() {
        let faults = substitute(
            "${A} ${self.prot} ${secret.k} ${} ${self.port} ${services.a.url} ${services.a} ${B",
            false,
            &env,
        )
        .unwrap_err();
        let faults: Vec<_> =
            faults.into_iter().map(|(written, fault)| format!("{written} {fault:?}")).collect();
        assert_eq!(
            faults,
            [
                r#"${A} Unset("A")"#,
                r#"${self.prot} UnknownSelf("prot")"#,
                "${secret.k} Secret",
                "${} Malformed",
                "${self.port} TooEarly",
                "${services.a.url} TooEarly",
                "${services.a} UnknownOfService",
                "${B Malformed"
            ]
        );
    }

    #[test]
    fn a_value_is_never_read_as_a_placeholder() {
        let text = "${COST} costs $$1 at ${self.port} ${services.a.url}, $HOME";
        let loaded = substitute(text, true, &env).unwrap();
        let started = placeholders(&loaded, |one| match one {
            Placeholder::Own(name) => (*name == "port").then(|| "80$$".to_owned()),
            Placeholder::Url(name) => Some(format!("http://{name}")),
        });
        assert_eq!(started.as_deref(), Ok("$5 ${self.port} costs $1 at 80$$ http://a, $HOME"));
    }

    #[test]
    fn an_unknown_placeholder_is_refused_at_start() {
        assert_eq!(placeholders("${self.x}", |_| None), Err(UnknownPlaceholder("${self.x}".into())));
        assert!(placeholders("${HOME}", |_| Some(String::new())).is_err(), "it is none");
        assert!(placeholders("${self", |_| Some(String::new())).is_err());
    }
}
