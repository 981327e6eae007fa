//! A signed token in its compact form (RFC 7515), read strictly and believed in nothing yet.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{algorithm::Algorithm, denied::Bad};

/// The longest token that is read, in bytes.
pub(crate) const LONGEST: usize = 8 * 1024;

/// The kinds of token that let somebody in (RFC 9068 calls its own `at+jwt`); one without a kind is an access token too.
const KINDS: [&str; 2] = ["jwt", "at+jwt"];

/// A token, of which nothing is verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    /// What was signed.
    message: &'a [u8],
    signature: Vec<u8>,
    payload: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: Option<String>,
}

/// What matters of a token's header. `jwk`, `jku`, `x5c` and their like would have the token say who may sign it: they
/// are not read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl<'a> Unverified<'a> {
    /// Reads a token.
    pub(crate) fn read(token: &'a str) -> Result<Self, Bad> {
        if token.len() > LONGEST {
            return Err(Bad::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Bad::Form)?;
        let (header, payload) = message.split_once('.').ok_or(Bad::Form)?;
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| Bad::Form)?;
        if header.crit.is_some() {
            return Err(Bad::Critical);
        }
        let kind = header.typ.as_deref().unwrap_or(KINDS[0]).to_ascii_lowercase();
        if !KINDS.contains(&kind.strip_prefix("application/").unwrap_or(&kind)) {
            return Err(Bad::Kind);
        }
        Ok(Self {
            algorithm: Algorithm::named(&header.alg).ok_or(Bad::Algorithm)?,
            key: header.kid,
            message: message.as_bytes(),
            signature: decoded(signature)?,
            payload: decoded(payload)?,
        })
    }

    /// What it says of itself.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Bad> {
        serde_json::from_slice(&self.payload).map_err(|_| Bad::Form)
    }

    /// What was signed, and the signature.
    pub(crate) fn signed(&self) -> (&[u8], &[u8]) {
        (self.message, &self.signature)
    }
}

/// Without padding, without anything between, and with nothing left over in the last digit: one token has one text.
fn decoded(text: &str) -> Result<Vec<u8>, Bad> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Bad::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.{}", encoded(header), encoded(payload), encoded("signatures"))
    }

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[track_caller]
    fn refused(token: &str, why: Bad) {
        assert_eq!(Unverified::read(token).map(drop).unwrap_err(), why, "{token}");
    }

    #[test]
    fn a_token_has_one_form() {
        let header = r#"{"alg":"ES256","kid":"a"}"#;
        let good = token(header, "{}");
        let read = Unverified::read(&good).unwrap();
        assert_eq!((read.algorithm, read.key.as_deref()), (Algorithm::Es256, Some("a")));
        assert_eq!(read.signed(), (good.rsplit_once('.').unwrap().0.as_bytes(), &b"signatures"[..]));
        for bad in [
            "",
            ".",
            "..",
            "a.b",
            &format!("{good}."),
            &format!("{good}="),
            &format!(" {good}"),
            &good.replacen('.', "..", 1),
            // The last digit of the signature holds four bits that are not its own.
            &format!("{}x", &good[..good.len() - 1]),
        ] {
            refused(bad, Bad::Form);
        }
        refused(&token("[]", "{}"), Bad::Form);
        refused(&token(r#"{"kid":"a"}"#, "{}"), Bad::Form);
        refused(&token(header, &"x".repeat(LONGEST)), Bad::TooLong);
        assert_eq!(Unverified::read(&token(header, "[]")).unwrap().claims().unwrap_err(), Bad::Form);
    }

    #[test]
    fn nothing_is_signed_with_nothing_or_with_a_secret() {
        for algorithm in ["none", "None", "NONE", "", "HS256", "HS512", "RS1", "ES256K", "ES521", "es256"] {
            refused(&token(&format!(r#"{{"alg":"{algorithm}"}}"#), "{}"), Bad::Algorithm);
        }
    }

    #[test]
    fn what_is_not_understood_but_must_be_is_refused() {
        for critical in [r#"["exp"]"#, "[]", r#""b64""#] {
            refused(&token(&format!(r#"{{"alg":"ES256","crit":{critical}}}"#), "{}"), Bad::Critical);
        }
    }

    #[test]
    fn a_token_of_another_kind_lets_nobody_in() {
        for kind in ["madang-principal+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", ""] {
            refused(&token(&format!(r#"{{"alg":"ES256","typ":"{kind}"}}"#), "{}"), Bad::Kind);
        }
        for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt", "application/JWT"] {
            assert!(Unverified::read(&token(&format!(r#"{{"alg":"ES256","typ":"{kind}"}}"#), "{}")).is_ok());
        }
    }
}
