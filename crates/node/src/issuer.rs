//! The built-in issuer as a node runs it: who may ask for tokens, and which service checks passwords; and where it
//! [listens](listening).

pub(crate) mod listening;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use madang_calls::{Body, Client, ClientConfig, Directory, Origin, Policy};
use madang_issuer::{Client as OauthClient, Settings, Users};
use madang_model::{Grant, Login, OwnIssuer, ServiceName, System, policy};
use madang_wire::{
    Hop,
    login::{Attempt, PATH, Person},
};
use tokio::sync::watch;

use crate::{
    node::with_causes,
    secrets::{Keys, Secrets},
};

/// As whom a service is asked for a password; what it says is recorded as a call of this name.
const CALLER: &str = "issuer";

/// How long a service may take over a password, and the longest answer, in bytes.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: usize = 16 * 1024;

/// Has the service that the manifest names check passwords.
pub(crate) struct Passwords {
    client: Client,
    directory: Directory,
    system: watch::Receiver<Arc<System>>,
}

impl Passwords {
    /// By the service that the system in force names.
    pub(crate) fn new(directory: Directory, system: watch::Receiver<Arc<System>>) -> Self {
        let client = Client::new(ClientConfig { records: 1, ..ClientConfig::new(Hop::Sdk) });
        Self { client, directory, system }
    }

    async fn ask(&self, attempt: Attempt) -> Result<Option<Person>, String> {
        let system = self.system.borrow().clone();
        let users = system.issuer.as_ref().and_then(|issuer| issuer.users.clone());
        let users = users.ok_or("the manifest names no service that knows passwords")?;
        let caller: ServiceName = CALLER.parse().map_err(|_| "no name")?;
        let lane = self.directory.lane(Origin::Caller(caller), &users);
        // Whoever typed it decides whether it is tried again.
        let policy =
            Policy { timeout: PATIENCE, attempt_timeout: PATIENCE, attempts: 1, ..policy::Policy::default() };
        let body = serde_json::to_vec(&attempt).map_err(|error| error.to_string())?;
        let request = Request::post(PATH).header(CONTENT_TYPE, "application/json").body(Body::from(body));
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.client.call(&lane, &Arc::new(policy), request).await;
        let (head, body) = answer.map_err(|error| with_causes(&error))?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(|error| error.to_string())?.to_bytes();
        match head.status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| format!("{users} does not answer {PATH} as it should: {error}")),
            StatusCode::UNAUTHORIZED => Ok(None),
            status => Err(format!("{users} answers {PATH} with {status}: 200 or 401 was expected")),
        }
    }
}

impl Users for Passwords {
    fn check(&self, attempt: Attempt) -> BoxFuture<'_, Result<Option<Person>, String>> {
        self.ask(attempt).boxed()
    }
}

/// What the issuer does in a system; nothing if the system has none. The gateway is a client too, if browsers log in
/// there, and proves it by this secret.
///
/// # Errors
/// If a secret cannot be had.
pub(crate) async fn settings(system: &Arc<System>, gateway: &str) -> Result<Option<Settings>, String> {
    let (system, gateway) = (system.clone(), gateway.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&system, &gateway)).await;
    read.map_err(|panic| panic.to_string())?
}

fn read(system: &System, gateway: &str) -> Result<Option<Settings>, String> {
    let Some(issuer) = &system.issuer else { return Ok(None) };
    let mut clients = BTreeMap::new();
    for (name, declared) in &issuer.clients {
        let secret = declared.secret.as_deref().map(|secret| reveal(system, secret)).transpose()?;
        clients.insert(name.clone(), OauthClient::new(declared, secret.as_deref()));
    }
    if let Some(login) = system.gateway.login.as_ref().filter(|login| login.issuer == issuer.name()) {
        let declared = madang_model::OauthClient {
            secret: None,
            redirects: [format!("{}{}", login.url, Login::CALLBACK)].into(),
            after_logout: [format!("{}/", login.url)].into(),
            scopes: login.scope.clone(),
            grants: [Grant::AuthorizationCode, Grant::RefreshToken].into(),
        };
        clients.insert(OwnIssuer::GATEWAY.to_owned(), OauthClient::new(&declared, Some(gateway)));
    }
    Ok(Some(Settings::new(issuer, system.name.as_str(), clients)))
}

/// By which the gateway proves to the issuer that logs browsers in who it is.
///
/// # Errors
/// If it cannot be had.
pub(crate) async fn client_secret(system: &Arc<System>, gateway: &str) -> Result<Option<String>, String> {
    let Some(login) = &system.gateway.login else { return Ok(None) };
    let Some((_, secret)) = &login.client else { return Ok(Some(gateway.to_owned())) };
    let Some(name) = secret.clone() else { return Ok(None) };
    let system = system.clone();
    let read = tokio::task::spawn_blocking(move || reveal(&system, &name).map(Some)).await;
    read.map_err(|panic| panic.to_string())?
}

/// A secret of the system.
fn reveal(system: &System, name: &str) -> Result<String, String> {
    Secrets::at(&system.secrets, Keys::of_process()).reveal(name).map_err(|error| with_causes(&error))
}
