//! A user, and what a name may be.

use serde::Serialize;
use utoipa::ToSchema;

/// Somebody who orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, madang::FromRow)]
pub struct User {
    /// The id, from 1.
    #[schema(example = 1)]
    pub id: i64,
    /// The name.
    #[schema(example = "Alice")]
    pub name: String,
}

/// A name that is fit to be stored: trimmed, of 1 to 100 characters, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

// === impl Name ===

impl Name {
    /// The longest name, in characters.
    pub const MAX: usize = 100;

    /// A name out of what somebody typed, or what is wrong with it.
    pub fn parse(typed: &str) -> Result<Self, &'static str> {
        let name = typed.trim();
        match name.chars().count() {
            0 => Err("must not be empty"),
            count if count > Self::MAX => Err("must have at most 100 characters"),
            _ if name.chars().any(char::is_control) => Err("must not have control characters"),
            _ => Ok(Self(name.to_owned())),
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_counted_in_characters() {
        let check = |typed: &str, expected: Result<&str, &str>| {
            assert_eq!(
                Name::parse(typed).as_ref().map(Name::as_str),
                expected.as_ref().copied(),
                "{typed:?}"
            );
        };
        check("  Alice ", Ok("Alice"));
        check("김 하나", Ok("김 하나"));
        check(" \t", Err("must not be empty"));
        check("a\nb", Err("must not have control characters"));
        check(&"가".repeat(100), Ok(&"가".repeat(100)));
        check(&"a".repeat(101), Err("must have at most 100 characters"));
    }
}
