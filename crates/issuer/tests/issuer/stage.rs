//! An issuer with two clients, whose only person is Alice, and a clock that can be put forward.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{body::Body, extract::ConnectInfo};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use madang_issuer::{Client, Issuer, Settings, Users};
use madang_model::{Grant, OauthClient, OwnIssuer};
use madang_store::Store;
use madang_wire::login::{Attempt, Person};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub const NAME: &str = "http://127.0.0.1:3010";
pub const HOST: &str = "127.0.0.1:3010";
pub const BACK: &str = "http://127.0.0.1:3000/callback";
pub const SECRET: &str = "s3cret & more";

/// What a verifier of PKCE and its challenge are in the example of RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub struct Stage {
    pub issuer: Issuer,
    ahead: Arc<AtomicU64>,
    folder: TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

struct Alice;

impl Users for Alice {
    fn check(&self, attempt: Attempt) -> BoxFuture<'_, Result<Option<Person>, String>> {
        async move {
            let claims =
                json!({ "name": "Alice", "roles": ["clerk"], "iss": "https://evil.example", "exp": 1 });
            let Value::Object(claims) = claims else { unreachable!() };
            match (&*attempt.login, &*attempt.password) {
                ("alice", "correct horse") => Ok(Some(Person { subject: "1".to_owned(), claims })),
                ("root", "correct horse") => Ok(Some(Person { subject: "client:ci".to_owned(), claims })),
                ("broken", _) => Err("the service is down".to_owned()),
                _ => Ok(None),
            }
        }
        .boxed()
    }
}

fn settings() -> Settings {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    let app = OauthClient {
        redirects: words(&[BACK]),
        after_logout: words(&["http://127.0.0.1:3000/"]),
        scopes: words(&["orders", "stock"]),
        grants: [Grant::AuthorizationCode, Grant::RefreshToken].into(),
        ..OauthClient::default()
    };
    let ci = OauthClient { grants: [Grant::ClientCredentials].into(), ..app.clone() };
    let web = OauthClient { redirects: words(&["http://127.0.0.1:3000/web?a=b"]), ..app.clone() };
    let own = OwnIssuer {
        listen: HOST.parse().unwrap(),
        url: None,
        users: Some("users".parse().unwrap()),
        lifetime: OwnIssuer::LIFETIME,
        origins: words(&["https://app.example"]),
        clients: BTreeMap::new(),
    };
    let clients = [
        ("app", Client::new(&app, None)),
        ("ci", Client::new(&ci, Some(SECRET))),
        ("web", Client::new(&web, Some(SECRET))),
    ];
    Settings::new(&own, "shop", clients.map(|(name, client)| (name.to_owned(), client)).into())
}

impl Stage {
    pub async fn start() -> Self {
        let (folder, ahead) = (tempfile::tempdir().unwrap(), Arc::<AtomicU64>::default());
        let issuer = Self::open(&folder, &ahead).await;
        Self { issuer, ahead, folder }
    }

    async fn open(folder: &TempDir, ahead: &Arc<AtomicU64>) -> Issuer {
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let ahead = ahead.clone();
        let clock =
            move || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + ahead.load(Relaxed);
        let issuer = Issuer::open_at(&state, Arc::new(Alice), Arc::new(clock)).await.unwrap();
        issuer.follow(Some(settings()));
        issuer
    }

    /// As after a restart: what is kept is there, and nothing else.
    pub async fn again(self) -> Self {
        let Self { issuer, ahead, folder } = self;
        drop(issuer);
        Self { issuer: Self::open(&folder, &ahead).await, ahead, folder }
    }

    pub fn later(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Relaxed);
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", HOST);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1000))));
        let (head, body) = self.issuer.router().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, &[("content-type", FORM)], &encoded(form)).await
    }

    /// Opens the log-in page, types this in, and says where that leads.
    pub async fn log_in(&self, path: &str, login: &str, password: &str) -> Answer {
        let page = self.send(Method::GET, path, &[], "").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let form =
            [("ticket", page.ticket()), ("login", login.to_owned()), ("password", password.to_owned())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let headers = [
            ("content-type", FORM),
            ("cookie", &*page.cookie()),
            ("origin", NAME),
            ("sec-fetch-site", "same-origin"),
        ];
        self.send(Method::POST, "/login", &headers, &encoded(&form)).await
    }

    /// A code for `app` that Alice's browser brings back.
    pub async fn code(&self, scope: &str) -> String {
        let answer = self.log_in(&asking(&[("scope", scope)]), "alice", "correct horse").await;
        answer.back("code").unwrap_or_else(|| panic!("{} {}", answer.status, answer.text))
    }

    pub async fn exchange(&self, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", "app"),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", &[&form[..], &[("redirect_uri", BACK)]].concat()).await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")];
        self.post("/token", &form).await
    }

    pub async fn userinfo(&self, token: &str) -> Answer {
        self.send(Method::GET, "/userinfo", &[("authorization", &format!("Bearer {token}"))], "").await
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

pub fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// What `app` asks for, with these parameters in place of its own or besides; without a value, one is left out.
pub fn asking(changes: &[(&str, &str)]) -> String {
    let mut all: BTreeMap<&str, &str> = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", BACK),
        ("state", "st&te"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
    .into();
    all.extend(changes.iter().copied());
    all.retain(|_, value| !value.is_empty());
    format!("/authorize?{}", encoded(&all.into_iter().collect::<Vec<_>>()))
}

/// The claims of a token, of which nothing is verified.
pub fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A parameter with which a browser is sent back.
    pub fn back(&self, name: &str) -> Option<String> {
        let (_, query) = self.header("location").split_once('?')?;
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    pub fn ticket(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"ticket\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    pub fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}
