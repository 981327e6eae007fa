//! Each flow, as the library `openidconnect` goes through it.

use std::{convert::Infallible, sync::Arc};

use http::Method;
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, RedirectUrl,
    RequestTokenError, Scope, TokenResponse,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreProviderMetadata, CoreUserInfoClaims,
    },
};

use crate::stage::{BACK, NAME, SECRET, Stage, claims};

type Known =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointMaybeSet>;

/// The library's way to the issuer.
fn way(
    stage: &Arc<Stage>,
) -> impl Fn(HttpRequest) -> futures_util::future::BoxFuture<'static, Result<HttpResponse, Infallible>> + use<>
{
    let stage = stage.clone();
    move |request| {
        let stage = stage.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let headers: Vec<_> =
                head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            let path = head.uri.path_and_query().unwrap().as_str();
            assert_eq!(head.uri.authority().unwrap(), "127.0.0.1:3010", "nobody is sent elsewhere");
            let answer = stage.send(head.method, path, &headers, std::str::from_utf8(&body).unwrap()).await;
            let mut response = HttpResponse::new(answer.text.into_bytes());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

async fn client(stage: &Arc<Stage>, name: &str, secret: Option<&str>) -> Known {
    let found =
        CoreProviderMetadata::discover_async(IssuerUrl::new(NAME.to_owned()).unwrap(), &way(stage)).await;
    let found = found.unwrap();
    let token = found.token_endpoint().unwrap().clone();
    let secret = secret.map(|secret| ClientSecret::new(secret.to_owned()));
    CoreClient::from_provider_metadata(found, ClientId::new(name.to_owned()), secret)
        .set_redirect_uri(RedirectUrl::new(BACK.to_owned()).unwrap())
        .set_token_uri(token)
}

#[tokio::test]
async fn somebody_logs_in_and_their_tokens_follow_each_other() {
    let stage = Arc::new(Stage::start().await);
    let app = client(&stage, "app", None).await;
    let http = way(&stage);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = app
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("orders".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let path = format!("{}?{}", url.path(), url.query().unwrap());
    let back = stage.log_in(&path, "alice", "correct horse").await;
    assert_eq!(back.status, 303);
    assert_eq!(
        (back.back("state").unwrap(), back.back("iss").unwrap()),
        (state.into_secret(), NAME.to_owned())
    );

    let code = AuthorizationCode::new(back.back("code").unwrap());
    let tokens = app.exchange_code(code).set_pkce_verifier(verifier).request_async(&http).await.unwrap();
    let verifies = app.id_token_verifier();
    let who = tokens.id_token().unwrap().claims(&verifies, &nonce).unwrap();
    assert_eq!(who.subject().as_str(), "1");
    assert_eq!(who.name().unwrap().get(None).unwrap().as_str(), "Alice");
    let said = claims(tokens.access_token().secret());
    assert_eq!(
        (&said["aud"], &said["scope"], &said["iss"]),
        (&"shop".into(), &"openid orders".into(), &NAME.into())
    );
    assert_eq!(said["roles"], serde_json::json!(["clerk"]));
    let info: CoreUserInfoClaims =
        app.user_info(tokens.access_token().clone(), None).unwrap().request_async(&http).await.unwrap();
    assert_eq!(info.subject().as_str(), "1");

    // Each is good once, and gives the next.
    let first = tokens.refresh_token().unwrap();
    let next = app.exchange_refresh_token(first).request_async(&http).await.unwrap();
    let second = next.refresh_token().unwrap();
    assert_ne!(first.secret(), second.secret());
    assert!(next.id_token().is_some());
    let after = app.exchange_refresh_token(second).request_async(&http).await.unwrap();
    let third = after.refresh_token().unwrap();

    // One that was copied ends all.
    let copied = app.exchange_refresh_token(first).request_async(&http).await;
    let Err(RequestTokenError::ServerResponse(refused)) = copied else { panic!("{copied:?}") };
    assert_eq!(refused.error(), &CoreErrorResponseType::InvalidGrant);
    assert!(app.exchange_refresh_token(third).request_async(&http).await.is_err());
    let ended: Result<CoreUserInfoClaims, _> =
        app.user_info(after.access_token().clone(), None).unwrap().request_async(&http).await;
    assert!(ended.is_err(), "the issuer knows that it ended");
}

#[tokio::test]
async fn a_client_gets_tokens_for_itself() {
    let stage = Arc::new(Stage::start().await);
    let ci = client(&stage, "ci", Some(SECRET)).await;
    let tokens = ci
        .exchange_client_credentials()
        .add_scope(Scope::new("stock".to_owned()))
        .request_async(&way(&stage))
        .await;
    let tokens = tokens.unwrap();
    let said = claims(tokens.access_token().secret());
    assert_eq!((&said["sub"], &said["scope"]), (&"client:ci".into(), &"stock".into()));
    assert!(tokens.refresh_token().is_none() && tokens.id_token().is_none());
    let all = ci.exchange_client_credentials().request_async(&way(&stage)).await.unwrap();
    assert_eq!(claims(all.access_token().secret())["scope"], "orders stock");
    let wrong = client(&stage, "ci", Some("another")).await;
    let refused = wrong.exchange_client_credentials().request_async(&way(&stage)).await;
    let Err(RequestTokenError::ServerResponse(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.error(), &CoreErrorResponseType::InvalidClient);
}

#[tokio::test]
async fn a_token_that_is_revoked_takes_its_family_with_it() {
    let stage = Arc::new(Stage::start().await);
    for by_access in [false, true] {
        let tokens = stage.exchange(&stage.code("openid").await).await.json();
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        assert_eq!(stage.userinfo(&text("access_token")).await.status, 200);
        // The library asks for TLS where the standard allows to go without on this machine.
        let token = text(if by_access { "access_token" } else { "refresh_token" });
        let revoked = stage.post("/revoke", &[("token", &token), ("client_id", "app")]).await;
        assert_eq!(revoked.status, 200);
        assert_eq!(stage.refresh(&text("refresh_token")).await.json()["error"], "invalid_grant");
        assert_eq!(stage.userinfo(&text("access_token")).await.status, 401);
    }
}

#[tokio::test]
async fn keys_change_and_what_was_signed_before_stays_good() {
    let stage = Arc::new(Stage::start().await);
    let before = client(&stage, "app", None).await;
    let old = stage.exchange(&stage.code("openid").await).await.json();
    stage.issuer.rotate().await.unwrap();
    let new = stage.exchange(&stage.code("openid").await).await.json();
    let id = |tokens: &serde_json::Value| {
        serde_json::from_value::<openidconnect::core::CoreIdToken>(tokens["id_token"].clone()).unwrap()
    };
    // Nobody sent a nonce.
    let no_nonce = |nonce: Option<&Nonce>| nonce.map_or(Ok(()), |_| Err("a nonce".to_owned()));
    assert!(id(&new).claims(&before.id_token_verifier(), no_nonce).is_err(), "it has the keys of before");
    let after = client(&stage, "app", None).await;
    assert!(id(&old).claims(&after.id_token_verifier(), no_nonce).is_ok());
    assert!(id(&new).claims(&after.id_token_verifier(), no_nonce).is_ok());
    let other = client(&stage, "ci", Some(SECRET)).await;
    assert!(id(&new).claims(&other.id_token_verifier(), no_nonce).is_err(), "it is for another client");
}

#[tokio::test]
async fn what_is_granted_outlives_a_restart() {
    let stage = Stage::start().await;
    let tokens = stage.exchange(&stage.code("openid").await).await.json();
    let keys = stage.send(Method::GET, "/keys", &[], "").await.json();
    let stage = stage.again().await;
    assert_eq!(stage.send(Method::GET, "/keys", &[], "").await.json(), keys);
    assert_eq!(stage.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 200);
    let next = stage.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(next.status, 200, "{}", next.text);
}
