//! What an issuer says, verified: where it is asked what, and of whom its tokens are.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use madang_model::WebUrl;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Login,
    provider::Ask,
    session::{Person, Session},
};
use crate::auth::{
    claims::Claims,
    denied::{Bad, Reason},
    jws::Unverified,
    keyring::Looked,
    who::Who,
};

/// How long a document of discovery is good.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// How long before its end a token is had anew, in seconds: a fourth of its life at most.
const AHEAD: u64 = 30;

/// Where an issuer is asked what (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    issuer: String,
    at: Instant,
    pub(super) authorization: WebUrl,
    pub(super) token: WebUrl,
    pub(super) revocation: Option<WebUrl>,
    pub(super) end_session: Option<WebUrl>,
    /// Whether it says with a code from whom it is (RFC 9207).
    pub(super) says_who: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// The answer with tokens (RFC 6749, section 5.1).
#[derive(Deserialize)]
pub(super) struct Tokens {
    access_token: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
    scope: Option<String>,
}

/// Why there are no tokens.
#[derive(Debug)]
pub(super) enum NoTokens {
    /// The issuer says no.
    Refused(String),
    /// It cannot be asked, or does not answer as it should.
    Trouble(String),
}

// === impl Login ===

impl Login {
    /// Where the issuer is asked, as it said lately.
    pub(super) async fn metadata(&self) -> Result<Metadata, String> {
        let issuer = &self.keyring.issuer;
        if let Some(known) = self.lasting.metadata.load_full()
            && known.issuer == issuer.issuer
            && known.at.elapsed() < PERIOD
        {
            return Ok((*known).clone());
        }
        let ask = Ask { url: issuer.discovery.clone(), form: None, authorization: None };
        let reply = self.lasting.ask(ask).await?;
        if reply.status != StatusCode::OK {
            return Err(format!("{} answers {}", issuer.discovery, reply.status));
        }
        let metadata = read(&reply.body, &issuer.issuer, &issuer.discovery)?;
        self.lasting.metadata.store(Some(metadata.clone().into()));
        Ok(metadata)
    }

    /// Asks for tokens by this grant.
    pub(super) async fn tokens(&self, grant: &[(&str, &str)]) -> Result<Tokens, NoTokens> {
        let metadata = self.metadata().await.map_err(NoTokens::Trouble)?;
        let reply = self.lasting.ask(self.posting(metadata.token, grant)).await.map_err(NoTokens::Trouble)?;
        if reply.status == StatusCode::OK {
            let tokens = serde_json::from_slice(&reply.body);
            return tokens.map_err(|error| NoTokens::Trouble(format!("its tokens are none: {error}")));
        }
        #[derive(Deserialize)]
        struct Error {
            error: String,
        }
        match serde_json::from_slice::<Error>(&reply.body) {
            Ok(Error { error }) if reply.status.is_client_error() => Err(NoTokens::Refused(error)),
            _ => Err(NoTokens::Trouble(format!("it answers {}", reply.status))),
        }
    }

    /// A form to the issuer, as its client.
    pub(super) fn posting(&self, url: WebUrl, form: &[(&str, &str)]) -> Ask {
        let encode = |pairs: &[(&str, &str)]| {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
        };
        let word = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = self.lasting.secret.load_full();
        match secret {
            // RFC 6749, section 2.3.1: both are encoded as in a form.
            Some(secret) => {
                let both = STANDARD.encode(format!("{}:{}", word(self.client()), word(&secret)));
                Ask { url, form: Some(encode(form)), authorization: Some(format!("Basic {both}")) }
            }
            None => {
                let form = encode(&[form, &[("client_id", self.client())]].concat());
                Ask { url, form: Some(form), authorization: None }
            }
        }
    }

    /// The session that tokens make: a new one for somebody who logged in with this nonce, or the one that they follow.
    pub(super) async fn session_of(
        &self,
        tokens: Tokens,
        nonce: Option<&str>,
        before: Option<&Session>,
    ) -> Result<Session, Reason> {
        let now = self.lasting.now();
        let said = match &tokens.id_token {
            Some(token) => Some(self.verified(token, Kind::Login { nonce }).await?),
            None if before.is_none() => return Err(Bad::Subject.into()),
            None => None,
        };
        let issuer = &self.keyring.issuer;
        // Of an issuer whose tokens of access are not for this system, or are none, it is known who logged in.
        let (mut who, ends) = match self.verified(&tokens.access_token, Kind::Access).await {
            Ok((claims, ends)) => (Who::of_token(issuer, &claims, &self.asked)?, ends),
            Err(_) => {
                let (claims, ends) = said.as_ref().ok_or(Bad::Form)?;
                let mut who = Who::of_token(issuer, claims, &self.asked)?;
                let granted = tokens.scope.as_deref().unwrap_or_default();
                who.scopes = granted.split_ascii_whitespace().map(str::to_owned).collect();
                (who, tokens.expires_in.map_or(*ends, |seconds| now.saturating_add(seconds)))
            }
        };
        let others = said.as_ref().map(|(claims, _)| claims.subject()).transpose()?;
        let same = others.is_none_or(|subject| subject == who.subject);
        if !same || before.is_some_and(|before| before.who.subject != who.subject) {
            return Err(Bad::Subject.into());
        }
        who.from.clone_from(&issuer.issuer);
        let refresh = tokens.refresh_token.or_else(|| before?.refresh.clone());
        let ahead = if refresh.is_some() { AHEAD.min(ends.saturating_sub(now) / 4) } else { 0 };
        Ok(Session {
            id: before.map_or_else(super::visit::random, |before| before.id.clone()),
            who: Person::from(who),
            ends: before.map_or(now + self.declared.session.as_secs(), |before| before.ends),
            fresh: ends - ahead,
            refresh,
            hint: tokens.id_token.or_else(|| before?.hint.clone()),
        })
    }

    /// The claims of a token that the issuer signed, and when it ends.
    async fn verified(&self, text: &str, kind: Kind<'_>) -> Result<(Claims, u64), Reason> {
        let mut last = false;
        loop {
            let waiting = {
                let token = Unverified::read(text)?;
                let claims = Claims(token.claims()?);
                if claims.issuer()? != self.keyring.issuer.issuer {
                    return Err(Bad::Issuer.into());
                }
                let now = self.lasting.now();
                let ends = match kind {
                    Kind::Access => claims.check(&self.keyring.issuer, now, self.leeway)?,
                    Kind::Login { nonce } => claims.check_login(self.client(), nonce, now, self.leeway)?,
                };
                let signed = |key: &crate::auth::jwk::Key| {
                    if key.signed(&token) { Ok(()) } else { Err(Bad::Signature.into()) }
                };
                match self.keyring.look(&token, last, signed) {
                    Looked::Found(()) => return Ok((claims, ends)),
                    Looked::Wait(waiting) => waiting,
                    Looked::Refused(reason) => return Err(reason),
                }
            };
            waiting.ended(None).await;
            last = true;
        }
    }
}

/// What a token is for.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Access,
    /// It says who logged in, with this nonce.
    Login {
        nonce: Option<&'a str>,
    },
}

/// Reads a document of discovery. It must be this issuer's own (section 4.3), and may send nobody to where what is said
/// could be read on the way.
fn read(document: &[u8], issuer: &str, from: &WebUrl) -> Result<Metadata, String> {
    let document: Document = serde_json::from_slice(document)
        .map_err(|error| format!("{from} is no document of discovery: {error}"))?;
    if document.issuer != issuer {
        return Err(format!("{from} is of the issuer {:?}, not of {issuer:?}", document.issuer));
    }
    let url = |text: &str| {
        let url: WebUrl = text.parse().map_err(|error| format!("{from} says {text:?}: {error}"))?;
        let safe = if from.server.is_tls() { url.server.is_tls() } else { url.server.is_private() };
        if safe { Ok(url) } else { Err(format!("{from} says {url}, which is not safe")) }
    };
    let option = |text: &Option<String>| text.as_deref().map(url).transpose();
    Ok(Metadata {
        authorization: url(&document.authorization_endpoint)?,
        token: url(&document.token_endpoint)?,
        revocation: option(&document.revocation_endpoint)?,
        end_session: option(&document.end_session_endpoint)?,
        says_who: document.authorization_response_iss_parameter_supported,
        issuer: document.issuer,
        at: Instant::now(),
    })
}
