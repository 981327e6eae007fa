//! Why somebody is not let in, and what they are told of it (RFC 6750, section 3).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::HeaderValue;
use madang_wire::Code;

/// Why a token or key is not good. What it says is told to whoever sent it, and holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    #[error("the request has more than one token or key")]
    Several,
    #[error("it is longer than is read")]
    TooLong,
    #[error("it is no JSON Web Token in compact form")]
    Form,
    #[error("its header has crit: what is critical there is not understood here")]
    Critical,
    #[error("its typ says that it is another kind of token than one of access")]
    Kind,
    #[error("it is signed by an algorithm that is not taken, or is not that of its key")]
    Algorithm,
    #[error("its issuer is none of those whose tokens are taken")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("it does not say when it ends, or not as a number")]
    NoEnd,
    #[error("it does not say whose it is")]
    Subject,
    #[error("a claim of it has not the form that it must have")]
    Claim,
    #[error("its issuer has no key of this kid")]
    UnknownKey,
    #[error("its signature is not that of its key")]
    Signature,
    #[error("it is of another log-in")]
    Nonce,
    #[error("there is no such API key")]
    ApiKey,
    #[error("the certificate of the client has ended since it was shown")]
    Certificate,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("send a token as `authorization: Bearer …`")]
    Nobody,
    #[error("the token or key is not valid: {0}")]
    Bad(#[from] Bad),
    #[error("the principal lacks {lacks}")]
    Lacks { lacks: String, scopes: BTreeSet<String> },
    #[error(
        "as many tokens from this address were not valid as are looked at: those that are known stay good"
    )]
    TooMany { retry_after: Duration },
    #[error("the keys of the token's issuer cannot be had at the moment")]
    NoKeys { retry_after: Duration },
    #[error("what changes something is taken from pages of this site only")]
    Forged,
    #[error("{0}")]
    LogIn(&'static str),
    #[error("the issuer that logs people in cannot be reached at the moment")]
    NoIssuer,
}

/// A refusal, and for which system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Denied {
    pub(crate) realm: Arc<str>,
    pub(crate) reason: Reason,
}

// === impl Denied ===

impl Denied {
    pub(crate) fn code(&self) -> Code {
        match self.reason {
            Reason::Nobody => Code::NO_CREDENTIAL,
            Reason::Bad(_) => Code::BAD_CREDENTIAL,
            Reason::Lacks { .. } => Code::NOT_ALLOWED,
            Reason::TooMany { .. } => Code::TOO_MANY_BAD_TOKENS,
            Reason::NoKeys { .. } => Code::NO_KEYS,
            Reason::Forged => Code::FORGED,
            Reason::LogIn(_) => Code::NOT_LOGGED_IN,
            Reason::NoIssuer => Code::NO_ISSUER,
        }
    }

    /// When it is worth trying again, where that would change anything.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.reason {
            Reason::TooMany { retry_after } | Reason::NoKeys { retry_after } => Some(retry_after),
            Reason::NoIssuer => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// What `WWW-Authenticate` says.
    pub(crate) fn challenge(&self) -> Option<HeaderValue> {
        let realm = &self.realm;
        let text = match &self.reason {
            // Whoever sent nothing is told of no error (RFC 6750, section 3.1).
            Reason::Nobody => format!("Bearer realm=\"{realm}\""),
            Reason::Bad(why) => {
                format!("Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{why}\"")
            }
            Reason::Lacks { scopes, .. } => {
                let scopes = scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                let named = if scopes.is_empty() { String::new() } else { format!(", scope=\"{scopes}\"") };
                format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\"{named}")
            }
            Reason::TooMany { .. }
            | Reason::NoKeys { .. }
            | Reason::Forged
            | Reason::LogIn(_)
            | Reason::NoIssuer => return None,
        };
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(reason: impl Into<Reason>) -> Option<String> {
        let denied = Denied { realm: "shop".into(), reason: reason.into() };
        denied.challenge().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_client_is_told_what_to_bring() {
        assert_eq!(challenge(Reason::Nobody).unwrap(), "Bearer realm=\"shop\"");
        assert_eq!(
            challenge(Bad::Expired).unwrap(),
            "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"it has expired\""
        );
        let scopes = ["a", "b"].map(str::to_owned).into();
        let lacks = Reason::Lacks { lacks: "the scope a".to_owned(), scopes };
        assert_eq!(
            challenge(lacks).unwrap(),
            "Bearer realm=\"shop\", error=\"insufficient_scope\", scope=\"a b\""
        );
        let lacks = Reason::Lacks { lacks: "the role admin".to_owned(), scopes: BTreeSet::new() };
        assert_eq!(challenge(lacks).unwrap(), "Bearer realm=\"shop\", error=\"insufficient_scope\"");
        assert_eq!(challenge(Reason::TooMany { retry_after: Duration::ZERO }), None);
    }
}
