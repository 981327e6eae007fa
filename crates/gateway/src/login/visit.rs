//! A request that the gateway answers itself: somebody is sent to the issuer, comes back, or logs out.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use madang_calls::Body;
use madang_model::Login as Declared;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Login, answers::NoTokens, cookies, origin, page};
use crate::{
    auth::denied::{Denied, Reason},
    inspect,
};

/// How long somebody may take to log in, in seconds.
const LASTS: u64 = 600;

/// How many log-ins one browser may have begun: each is a cookie.
const BEGUN: usize = 4;

/// A request that the gateway answers itself.
pub(crate) struct Visit {
    login: Arc<Login>,
    what: What,
    headers: HeaderMap,
}

enum What {
    /// To the issuer, and then to this path.
    In(String),
    Back(String),
    Out,
    /// None of these, or by another method than this.
    Nothing(Option<Method>),
}

/// What is known of a log-in until somebody comes back.
#[derive(Serialize, Deserialize)]
struct Flow {
    state: String,
    nonce: String,
    verifier: String,
    back: String,
    ends: u64,
}

/// What a browser brings back.
#[derive(Default)]
struct Brought {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// The paths of the gateway itself.
const PATHS: [&str; 3] = ["/.madang/login", Declared::CALLBACK, "/.madang/logout"];

// === impl Visit ===

impl Visit {
    /// The template of the route that a path of the gateway itself is; nothing if it is none.
    pub(crate) fn route(path: &str) -> Option<&'static str> {
        PATHS.into_iter().find(|own| *own == path)
    }

    /// By the path of a request to the gateway itself.
    pub(crate) fn of<B>(login: &Arc<Login>, request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let is = |method: Method| *request.method() == method;
        let what = match request.uri().path().strip_prefix(Declared::PATH) {
            Some("login") if is(Method::GET) => What::In(returning(query)),
            Some("callback") if is(Method::GET) => What::Back(query.to_owned()),
            Some("logout") if is(Method::POST) => What::Out,
            Some("login" | "callback") => What::Nothing(Some(Method::GET)),
            Some("logout") => What::Nothing(Some(Method::POST)),
            _ => What::Nothing(None),
        };
        Self { login: login.clone(), what, headers: request.headers().clone() }
    }

    /// Of somebody who opened a page that asks who they are.
    pub(crate) fn asked<B>(login: &Arc<Login>, request: &Request<B>) -> Self {
        let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let what = What::In(origin::path(back).to_owned());
        Self { login: login.clone(), what, headers: request.headers().clone() }
    }

    /// Whether no path of the gateway is meant, or the method that its path takes.
    pub(crate) fn nothing(&self) -> Option<Option<Method>> {
        match &self.what {
            What::Nothing(method) => Some(method.clone()),
            _ => None,
        }
    }

    /// Whether what it is refused with is shown to a person.
    pub(crate) fn as_page(&self) -> bool {
        page::wanted(&self.headers)
    }

    pub(crate) async fn answer(self) -> Result<Response<Body>, Denied> {
        let answer = match &self.what {
            What::In(back) => self.send_in(back).await,
            What::Back(query) => self.take_back(query).await,
            What::Out => self.send_out().await,
            What::Nothing(_) => Err(Reason::Nobody),
        };
        answer.map_err(|reason| {
            let denied = Denied { realm: self.login.declared.url.authority().into(), reason };
            self.login.lasting.counted.refused(&denied);
            denied
        })
    }

    async fn send_in(&self, back: &str) -> Result<Response<Body>, Reason> {
        let login = &self.login;
        // A cookie that is set under one name of this machine does not come back under another.
        let (named, known) = (inspect::host(&self.headers), login.declared.url.host());
        if !login.is_tls() && named.trim_matches(['[', ']']) != known {
            return Ok(to(&format!("{}{}", login.declared.url, at_login(back)), []));
        }
        let metadata = login.metadata().await.map_err(|why| self.trouble(&why))?;
        let (state, nonce, verifier) = (random(), random(), random());
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let scope: Vec<&str> =
            std::iter::once("openid").chain(login.declared.scope.iter().map(String::as_str)).collect();
        let callback = format!("{}{}", login.declared.url, Declared::CALLBACK);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", login.client())
            .append_pair("redirect_uri", &callback)
            .append_pair("scope", &scope.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let url = metadata.authorization.to_string();
        let url = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
        let name = self.flow_cookie(&state);
        let flow = Flow { state, nonce, verifier, back: back.to_owned(), ends: login.lasting.now() + LASTS };
        let text = login.lasting.seals.load().seal(cookies::FLOW, &flow);
        let text = text.ok_or(Reason::LogIn("the gateway has no key to seal with"))?;
        let mut fields: Vec<_> = cookies::single(&name, &text, LASTS, login.is_tls()).into_iter().collect();
        let beginning = format!("{}{}-", login.prefix, cookies::FLOW);
        let begun: Vec<&str> = cookies::all(&self.headers)
            .map(|(name, _)| name)
            .filter(|name| name.starts_with(&beginning))
            .collect();
        if begun.len() >= BEGUN {
            fields.extend(begun.iter().filter_map(|name| cookies::single(name, "", 0, login.is_tls())));
        }
        Ok(to(&url, fields))
    }

    async fn take_back(&self, query: &str) -> Result<Response<Body>, Reason> {
        let login = &self.login;
        let brought = Brought::read(query);
        let state = brought.state.ok_or(Reason::LogIn("the issuer sent no state back"))?;
        let name = self.flow_cookie(&state);
        let flow = cookies::read(&self.headers, &name)
            .and_then(|text| login.lasting.seals.load().open::<Flow>(cookies::FLOW, &text))
            .filter(|flow| same(&flow.state, &state) && login.lasting.now() < flow.ends);
        let flow =
            flow.ok_or(Reason::LogIn("this browser did not begin it, or took too long: begin again"))?;
        let metadata = login.metadata().await.map_err(|why| self.trouble(&why))?;
        let from = brought.iss.as_deref().or((!metadata.says_who).then_some(&login.declared.issuer));
        if from != Some(login.declared.issuer.as_str()) {
            return Err(Reason::LogIn("the answer is from another issuer"));
        }
        if let Some(error) = brought.error {
            warn!(
                issuer = login.declared.issuer,
                error = error.escape_debug().to_string(),
                "somebody is not logged in"
            );
            return Err(Reason::LogIn("the issuer refused it, and the log says why"));
        }
        let code = brought.code.ok_or(Reason::LogIn("the issuer sent no code back"))?;
        let callback = format!("{}{}", login.declared.url, Declared::CALLBACK);
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &callback),
            ("code_verifier", &flow.verifier),
        ];
        let tokens = login.tokens(&grant).await.map_err(|none| match none {
            NoTokens::Refused(error) => {
                warn!(issuer = login.declared.issuer, error, "a code is not taken");
                Reason::LogIn("the issuer does not take its code: begin again")
            }
            NoTokens::Trouble(why) => self.trouble(&why),
        })?;
        let session = login.session_of(tokens, Some(&flow.nonce), None).await.map_err(|reason| {
            warn!(issuer = login.declared.issuer, %reason, "the tokens of a log-in are not good");
            Reason::LogIn("the issuer's tokens are not good, and the log says why")
        })?;
        let kept = login.keep(&session).ok_or(Reason::LogIn("its tokens are larger than a browser keeps"))?;
        Ok(to(&flow.back, kept.into_iter().chain(cookies::single(&name, "", 0, login.is_tls()))))
    }

    /// Ends the session here and at the issuer. It has ended here also if the issuer cannot be asked.
    async fn send_out(&self) -> Result<Response<Body>, Reason> {
        let login = &self.login;
        if !origin::is_same(&self.headers, &login.declared.url) {
            return Err(Reason::Forged);
        }
        let session = login.session_text(&self.headers);
        let session = session.and_then(|text| login.session(&text, login.lasting.now()));
        let forget = login.forget(&login.session_cookie());
        let Some(session) = session else { return Ok(to("/", forget)) };
        login.lasting.end(&session.id, session.ends);
        let metadata = match login.metadata().await {
            Ok(metadata) => metadata,
            Err(why) => {
                warn!(issuer = login.declared.issuer, why, "the issuer is not told of a log-out");
                return Ok(to("/", forget));
            }
        };
        if let (Some(url), Some(token)) = (metadata.revocation, &session.refresh) {
            let form = [("token", token.as_str()), ("token_type_hint", "refresh_token")];
            if let Err(why) = login.lasting.ask(login.posting(url, &form)).await {
                warn!(issuer = login.declared.issuer, why, "a refresh token is not revoked");
            }
        }
        let Some(url) = metadata.end_session else { return Ok(to("/", forget)) };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", login.client());
        query.append_pair("post_logout_redirect_uri", &format!("{}/", login.declared.url));
        if let Some(hint) = &session.hint {
            query.append_pair("id_token_hint", hint);
        }
        let (url, query) = (url.to_string(), query.finish());
        Ok(onwards(&format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' }), forget))
    }

    fn trouble(&self, why: &str) -> Reason {
        warn!(issuer = self.login.declared.issuer, why, "nobody can be logged in");
        Reason::NoIssuer
    }

    /// A name for each log-in that is begun, so that two pages that are opened at once do not end each other's.
    fn flow_cookie(&self, state: &str) -> String {
        let fit = state.bytes().take(8).filter(u8::is_ascii_alphanumeric).map(char::from);
        format!("{}{}-{}", self.login.prefix, cookies::FLOW, fit.collect::<String>())
    }
}

// === impl Brought ===

impl Brought {
    /// What is there twice is not believed.
    fn read(query: &str) -> Self {
        let mut brought = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "code" => &mut brought.code,
                "state" => &mut brought.state,
                "iss" => &mut brought.iss,
                "error" => &mut brought.error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Self::default();
            }
        }
        brought
    }
}

/// Where somebody wants to be afterwards.
fn returning(query: &str) -> String {
    let wanted = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return");
    wanted.map_or_else(|| "/".to_owned(), |(_, path)| origin::path(&path).to_owned())
}

fn at_login(back: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return", back).finish();
    format!("{}login?{query}", Declared::PATH)
}

/// Sends a browser on.
fn to(url: &str, fields: impl IntoIterator<Item = HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    if let Ok(url) = HeaderValue::try_from(url) {
        headers.insert(header::LOCATION, url);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for field in fields {
        headers.append(header::SET_COOKIE, field);
    }
    response
}

/// Sends a browser on that sent a form: the policy of many a page lets its forms lead to their own site only, over
/// redirects too.
fn onwards(url: &str, fields: impl IntoIterator<Item = HeaderValue>) -> Response<Body> {
    let mut response = to("/", fields);
    *response.status_mut() = StatusCode::OK;
    let page = "<!doctype html><html lang=\"en\"><title>Logged out</title><p>You are logged out. <a href=\"/\">Back</a></p></html>";
    *response.body_mut() = Body::from(page);
    let headers = response.headers_mut();
    headers.remove(header::LOCATION);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    if let Ok(refresh) = HeaderValue::try_from(format!("0; url={url}")) {
        headers.insert(header::REFRESH, refresh);
    }
    response
}

/// A text of 256 bits that nobody can guess.
pub(super) fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Whether two texts are one, in a time that says nothing of where they differ: it is hashes that are compared.
fn same(one: &str, other: &str) -> bool {
    digest(&SHA256, one.as_bytes()).as_ref() == digest(&SHA256, other.as_bytes()).as_ref()
}
