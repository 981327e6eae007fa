//! Names: the words by which parts of a system are known in the manifest, in host names and in file names.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest name allowed: that of a DNS label, in bytes.
const LONGEST: usize = 63;

/// A name that breaks the rule for names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not a name: {rule}")]
pub struct InvalidName {
    given: String,
    rule: &'static str,
}

fn check(given: &str) -> Result<(), InvalidName> {
    let invalid = |rule| Err(InvalidName { given: given.to_owned(), rule });
    if given.is_empty() || given.len() > LONGEST {
        return invalid("a name has 1 to 63 characters");
    }
    if !given.starts_with(|c: char| c.is_ascii_lowercase()) {
        return invalid("a name starts with a letter from a to z");
    }
    if !given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        || given.ends_with('-')
    {
        return invalid("a name has only a to z, 0 to 9 and, not at its end, `-`");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(given: &str) -> Result<Self, InvalidName> {
                check(given).map(|()| Self(given.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(given: String) -> Result<Self, InvalidName> {
                given.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// The name of a system: what a manifest describes.
    SystemName
}
name! {
    /// The name of a service: a part of the system with an owner and a database of its own.
    ServiceName
}
name! {
    /// The name of a unit: one process that hosts one or more services.
    UnitName
}
name! {
    /// The name of a domain: a part of the business, such as `sales`, with the services that are about it.
    DomainName
}

/// The id of an instance: its unit's name and a random suffix, such as `orders-k3x9qd`; unique for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub Arc<str>);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The id of a release: the first twelve hexadecimal digits of the hash of a unit's slice of the manifest
/// and of its artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseId(pub Arc<str>);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&ServiceName> for UnitName {
    /// A service that the manifest places nowhere is its own unit.
    fn from(service: &ServiceName) -> Self {
        Self(service.0.clone())
    }
}

impl ServiceName {
    /// The name as a prefix of environment variables: `gift-cards` gives `GIFT_CARDS`.
    pub fn env_prefix(&self) -> String {
        self.0.to_ascii_uppercase().replace('-', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_dns_labels_and_refuses_the_rest() {
        for good in ["a", "users", "gift-cards", "v2", &"a".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "Users", "2fast", "-a", "a-", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn env_prefix_is_upper_case_with_underscores() {
        assert_eq!("gift-cards".parse::<ServiceName>().unwrap().env_prefix(), "GIFT_CARDS");
    }
}
