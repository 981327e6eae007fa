//! The forms of names, on this machine and in the manifest.

use crate::{
    ServiceName,
    manifest::{
        error::Code,
        format::{Unfit, unfit},
        variables,
    },
};

pub(super) fn name(text: &str) -> Result<(), Unfit> {
    let Err(error) = text.parse::<ServiceName>() else { return Ok(()) };
    let slug = slug(text);
    let help = match slug.parse::<ServiceName>() {
        Ok(name) => format!("write \"{name}\": 1 to 63 of a to z, 0 to 9 and `-`, a letter first"),
        Err(_) => "write 1 to 63 of a to z, 0 to 9 and `-`, a letter first".into(),
    };
    unfit(Code::BAD_NAME, error.to_string().split_once(": ").map_or("", |(_, rule)| rule), help)
}

/// The nearest text that follows the rule for names, if any does.
pub(in crate::manifest) fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().take(63).map(plain).collect();
    text.trim_matches('-').to_owned()
}

pub(super) fn variable(text: &str) -> Result<(), Unfit> {
    if variables::is_variable(text) {
        return Ok(());
    }
    unfit(
        Code::BAD_NAME,
        "a variable's name has letters, digits and `_`, and no digit first",
        "write a name such as \"SERVER_PORT\"",
    )
}

pub(super) fn program(text: &str) -> Result<(), Unfit> {
    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '\0') && !text.ends_with('/') {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not the name of one program",
        "write a name that is looked up in PATH, such as \"java\", or a path from the folder of this file, each without arguments",
    )
}

pub(super) fn glob(text: &str) -> Result<(), Unfit> {
    if !text.is_empty() && !text.contains("**") && !text.contains(['\0', '[', '{']) {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not a pattern of files",
        "write a path in which `*` stands for any part of one name, such as \"*/service.toml\"",
    )
}
