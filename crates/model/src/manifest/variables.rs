//! `${NAME}` and `${NAME:-default}` when the manifest is loaded, `${self.…}`, `${services.…}` and `${secret.…}` when a unit
//! starts; `$$` is a dollar sign.
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
    /// `${self.…}`, `${services.…}` or `${secret.…}` where only values known at load can stand.
    TooEarly,
    /// `${self.x}` with an `x` that nobody knows.
    UnknownSelf(String),
    /// `${services.…}` that is not `${services.NAME.url}`.
    UnknownOfService,
    /// `${secret.…}` with what cannot be the name of a secret.
    SecretName(String),
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
        Some(Placeholder::Secret(name)) if !is_secret(name) => {
            return Err(Fault::SecretName(name.to_owned()));
        }
        Some(_) if deferred => return Ok(None),
        Some(_) => return Err(Fault::TooEarly),
        None if body.starts_with("services.") => return Err(Fault::UnknownOfService),
        None => {}
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

/// Whether a text can be the name of a secret: letters, digits, `-` and `_`, 64 at most.
pub fn is_secret(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// A value in `run` or `env` that is known only when an instance starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// `${self.port}` and the like: something that the instance knows of itself.
    Own(&'a str),
    /// `${services.users.url}`: the URL at which its unit calls a service.
    Url(ServiceName),
    /// `${secret.pay}`: a secret of the system.
    Secret(&'a str),
}

impl<'a> Placeholder<'a> {
    /// The placeholder that stands in braces, if it is one.
    fn of(body: &'a str) -> Option<Self> {
        let of_service = || body.strip_prefix("services.")?.strip_suffix(".url")?.parse().ok();
        let own = body.strip_prefix("self.").map(Self::Own);
        own.or_else(|| body.strip_prefix("secret.").map(Self::Secret)).or_else(|| of_service().map(Self::Url))
    }
}

/// The placeholders of a text, each with how it is written.
pub fn placeholders_in(text: &str) -> impl Iterator<Item = (&str, Placeholder<'_>)> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Reference(written, body) => Some((written, Placeholder::of(body)?)),
        _ => None,
    })
}

/// A placeholder that has no value when an instance starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no value for {placeholder}: {why}")]
pub struct NoValue {
    /// The placeholder as it is written.
    placeholder: String,
    /// Why, in words.
    why: String,
}

/// Resolves the placeholders of a unit's `run` or `env` when an instance starts, each to what `lookup` gives, or not at
/// all, for the reason that it gives. `$$` becomes a dollar sign.
///
/// # Errors
/// If one has no value.
pub fn placeholders(
    text: &str,
    lookup: impl Fn(&Placeholder) -> Result<String, String>,
) -> Result<String, NoValue> {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push('$'),
            Part::Open(written) => return Err(NoValue::nobodys(written)),
            Part::Reference(written, body) => match Placeholder::of(body) {
                Some(placeholder) => {
                    out.push_str(&lookup(&placeholder).map_err(|why| NoValue::of(written, why))?)
                }
                None => return Err(NoValue::nobodys(written)),
            },
        }
    }
    Ok(out)
}

/// Resolves all placeholders but those of secrets, which stay for [`placeholders`] to be resolved by whoever may know
/// them. None if there is none of a secret in the text.
///
/// # Errors
/// If one has no value.
pub fn all_but_secrets(
    text: &str,
    lookup: impl Fn(&Placeholder) -> Result<String, String>,
) -> Result<Option<String>, NoValue> {
    let is_secret = |(_, placeholder)| matches!(placeholder, Placeholder::Secret(_));
    if !placeholders_in(text).any(is_secret) {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Text(text) | Part::Open(text) => out.push_str(text),
            Part::Dollar => out.push_str("$$"),
            Part::Reference(written, body) => match Placeholder::of(body) {
                Some(Placeholder::Secret(_)) => out.push_str(written),
                Some(placeholder) => {
                    let value = lookup(&placeholder).map_err(|why| NoValue::of(written, why))?;
                    out.push_str(&value.replace('$', "$$"));
                }
                None => return Err(NoValue::nobodys(written)),
            },
        }
    }
    Ok(Some(out))
}

impl NoValue {
    fn of(placeholder: &str, why: String) -> Self {
        Self { placeholder: placeholder.to_owned(), why }
    }

    fn nobodys(placeholder: &str) -> Self {
        Self::of(placeholder, "it is no placeholder".to_owned())
    }
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
            "${A} ${self.prot} ${secret.k} ${secret.k.l} ${} ${self.port} ${services.a.url} ${services.a} ${B",
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
                "${secret.k} TooEarly",
                r#"${secret.k.l} SecretName("k.l")"#,
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
        let text = "${COST} costs $$1 at ${self.port} ${services.a.url}, $HOME: ${secret.k}";
        let loaded = substitute(text, true, &env).unwrap();
        let value = |one: &Placeholder| match one {
            Placeholder::Own("port") => Ok("80$$".to_owned()),
            Placeholder::Own(_) => Err("nobody knows it".to_owned()),
            Placeholder::Url(name) => Ok(format!("http://{name}")),
            Placeholder::Secret(name) => Ok(format!("${{self.{name}}}")),
        };
        let expected = "$5 ${self.port} costs $1 at 80$$ http://a, $HOME: ${self.k}";
        assert_eq!(placeholders(&loaded, value).as_deref(), Ok(expected));
        // In two steps, where not everybody may know the secret.
        let sealed = all_but_secrets(&loaded, value).unwrap().unwrap();
        assert_eq!(sealed, "$$5 $${self.port} costs $$1 at 80$$$$ http://a, $HOME: ${secret.k}");
        assert_eq!(placeholders(&sealed, value).as_deref(), Ok(expected));
        assert_eq!(all_but_secrets("$${secret.k} ${self.port}", value), Ok(None));
    }

    #[test]
    fn an_unknown_placeholder_is_refused_at_start() {
        let refused = placeholders("${self.x}", |_| Err("nobody knows it".to_owned())).unwrap_err();
        assert_eq!(refused.to_string(), "no value for ${self.x}: nobody knows it");
        assert!(placeholders("${HOME}", |_| Ok(String::new())).is_err(), "it is none");
        assert!(placeholders("${self", |_| Ok(String::new())).is_err());
    }
}
