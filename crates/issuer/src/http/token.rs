//! A client gets tokens (RFC 6749, sections 4.1.3, 4.4 and 6).

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header};
use madang_model::Grant;
use serde_json::{Value, json};
use tracing::warn;

use super::Now;
use crate::{
    Client, Issuer, Settings, client,
    codes::Taken,
    families::{Granted, Used},
    parameters::Parameters,
    random,
    refused::Refused,
    tokens::{self, About},
};

const NO_CODE: Refused = Refused::Grant("the code is not known, has ended, was used, or is another client's");
const NO_REFRESH: Refused =
    Refused::Grant("the refresh token is not known, has ended, or is another client's");
const AGAIN: Refused = Refused::Grant("it was used before: everything that came of it has ended");

/// Who asks for tokens.
struct Asker<'a> {
    issuer: &'a Issuer,
    settings: &'a Settings,
    name: &'a str,
    client: &'a Client,
    now: u64,
}

pub(super) async fn token(
    State(issuer): State<Issuer>,
    Extension(settings): Now,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let parameters = Parameters::read(&body).map_err(|_| Refused::Request("a parameter is there twice"))?;
    let grant = parameters.get("grant_type").ok_or(Refused::Request("grant_type is missing"))?;
    let grant: Grant = grant.parse().map_err(|()| Refused::GrantType)?;
    let (name, client) = client::of(&settings, &headers, &parameters)?;
    if !client.grants.contains(&grant) {
        return Err(Refused::NotItsWay);
    }
    let asker = Asker { issuer: &issuer, settings: &settings, name, client, now: issuer.inner.now() };
    let tokens = match grant {
        Grant::AuthorizationCode => asker.by_code(&parameters).await?,
        Grant::RefreshToken => asker.by_refresh(&parameters).await?,
        Grant::ClientCredentials => asker.for_itself(&parameters)?,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response())
}

impl Asker<'_> {
    async fn by_code(&self, parameters: &Parameters) -> Result<Value, Refused> {
        let text = parameters.get("code").ok_or(Refused::Request("code is missing"))?;
        let inner = &self.issuer.inner;
        let (code, family) = match inner.codes.take(text, self.now) {
            Taken::Once(code, family) => (*code, family),
            Taken::Again(family) => {
                warn!(client = self.name, "a code came a second time: what it gave has ended");
                inner.families.end(&family, self.name).await?;
                return Err(AGAIN);
            }
            Taken::Unknown => return Err(NO_CODE),
        };
        let back = parameters.get("redirect_uri");
        if code.client != self.name || back.is_some_and(|back| back != code.redirect) {
            return Err(NO_CODE);
        }
        let verifier = parameters.get("code_verifier").filter(|text| (43..=128).contains(&text.len()));
        let challenge = verifier.map(|text| URL_SAFE_NO_PAD.encode(random::hash(text)));
        let proved =
            challenge.is_some_and(|it| random::same(&random::hash(&it), &random::hash(&code.challenge)));
        if !proved {
            return Err(Refused::Grant("code_verifier is not the one of code_challenge"));
        }
        let (client, person, scope, at) = (code.client, code.person, code.scope, code.at);
        let granted = Granted { client, person, scope, at };
        let refresh = match self.client.grants.contains(&Grant::RefreshToken) {
            true => Some(inner.families.begin(&family, &granted, self.now).await?),
            false => None,
        };
        if inner.codes.came_again(text) {
            inner.families.end(&family, self.name).await?;
            return Err(AGAIN);
        }
        let family = refresh.is_some().then_some(family.as_str());
        self.tokens(&granted, code.nonce.as_deref(), family, refresh.as_deref())
    }

    async fn by_refresh(&self, parameters: &Parameters) -> Result<Value, Refused> {
        let text = parameters.get("refresh_token").ok_or(Refused::Request("refresh_token is missing"))?;
        let narrower = parameters.words("scope");
        let (mut granted, next) = match self.issuer.inner.families.follow(text, self.name, self.now).await? {
            Used::Next(granted, next) => (granted, next),
            Used::Again => {
                warn!(client = self.name, "a refresh token came a second time: its family has ended");
                return Err(AGAIN);
            }
            Used::Unknown => return Err(NO_REFRESH),
        };
        if !narrower.is_empty() {
            // What is not in it was never granted, and is not now.
            granted.scope.retain(|scope| narrower.contains(scope));
        }
        let family = next.split_once('.').map(|(family, _)| family.to_owned());
        self.tokens(&granted, None, family.as_deref(), Some(&next))
    }

    fn for_itself(&self, parameters: &Parameters) -> Result<Value, Refused> {
        // A public client proves nothing, so that anybody could have its tokens.
        if self.client.secret.is_none() {
            return Err(Refused::NotItsWay);
        }
        let mut scope = parameters.words("scope");
        if scope.is_empty() {
            scope = self.client.scopes.clone();
        }
        if !scope.is_subset(&self.client.scopes) {
            return Err(Refused::Scope);
        }
        let token = tokens::of_client(&self.issuer.inner, self.about(None), self.name, &scope);
        Ok(json!({
            "access_token": token.ok_or(Refused::Failed)?, "token_type": "Bearer",
            "expires_in": self.settings.lifetime.as_secs(), "scope": tokens::words(&scope),
        }))
    }

    fn tokens(
        &self,
        granted: &Granted,
        nonce: Option<&str>,
        family: Option<&str>,
        refresh: Option<&str>,
    ) -> Result<Value, Refused> {
        let (inner, about) = (&self.issuer.inner, self.about(family));
        let mut tokens = json!({
            "access_token": tokens::of_person(inner, about, granted).ok_or(Refused::Failed)?,
            "token_type": "Bearer",
            "expires_in": self.settings.lifetime.as_secs(),
            "scope": tokens::words(&granted.scope),
        });
        if let Some(refresh) = refresh {
            tokens["refresh_token"] = refresh.into();
        }
        if granted.scope.contains("openid") {
            tokens["id_token"] =
                tokens::of_login(inner, about, granted, nonce).ok_or(Refused::Failed)?.into();
        }
        Ok(tokens)
    }

    fn about<'a>(&'a self, family: Option<&'a str>) -> About<'a> {
        About { settings: self.settings, now: self.now, family }
    }
}
