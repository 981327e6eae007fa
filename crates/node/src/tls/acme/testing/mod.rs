//! A small authority for tests: as much of RFC 8555 and RFC 9773 as an order needs, with everything verified that a client
//! signs, and proofs really looked for where the gateway listens.

mod csr;
mod jws;
mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, head, post},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::jws::{Account, Signed};

pub(super) use self::look::shown;

/// How long what it signs is good.
pub(super) const LIFE: u64 = 90 * 24 * 60 * 60;

/// The authority. Clones are the same one.
#[derive(Clone)]
pub(super) struct Authority(Arc<Shared>);

struct Shared {
    url: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    book: Mutex<Book>,
}

/// What it knows, and what it is told to do wrong.
#[derive(Default)]
pub(super) struct Book {
    nonces: BTreeSet<String>,
    /// By their numbers, from 1.
    pub(super) accounts: Vec<Account>,
    pub(super) orders: Vec<Order>,
    pub(super) contacts: Vec<Value>,
    /// Where it looks in plain, and over TLS, whatever the host.
    pub(super) plain: Option<SocketAddr>,
    pub(super) tls: Option<SocketAddr>,
    /// Its time, in seconds since 1970.
    pub(super) now: u64,
    /// The next signed requests are told that their nonce is bad, however good it is.
    pub(super) bad_nonces: u32,
    /// The next orders are refused, to be tried again after so many seconds.
    pub(super) limited: Option<u64>,
    /// It fails whatever is asked.
    pub(super) is_down: bool,
    /// It signs what nobody has asked for.
    pub(super) signs_for: Option<String>,
    /// How many signed requests it has taken.
    pub(super) requests: u32,
    /// The only customer whose accounts it takes, with their key; anybody's if absent.
    pub(super) customer: Option<(&'static str, &'static [u8])>,
    /// From when until when it wants certificates to be renewed, and how long it is not to be asked again, in seconds.
    pub(super) suggests: Option<(u64, u64, u64)>,
    /// Of which certificates it was asked that.
    pub(super) asked: Vec<String>,
    /// It takes no order for a successor, and says this of it.
    pub(super) takes_no_successor: Option<&'static str>,
    /// It does not say whose successor an order is for.
    pub(super) says_nothing_of_successors: bool,
}

pub(super) struct Order {
    account: usize,
    pub(super) hosts: Vec<String>,
    /// For each host: nothing until it has looked.
    pub(super) seen: BTreeMap<String, Result<(), String>>,
    status: &'static str,
    chain: Option<String>,
    /// The certificate that is replaced.
    pub(super) replaces: Option<String>,
}

/// What is answered, or a problem of a kind.
type Answer = Result<Response, Problem>;

struct Problem {
    status: u16,
    kind: &'static str,
    detail: String,
    retry_after: Option<u64>,
}

fn refused(status: u16, kind: &'static str, detail: impl Into<String>) -> Problem {
    Problem { status, kind, detail: detail.into(), retry_after: None }
}

impl Authority {
    pub(super) async fn start(now: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let book = Mutex::new(Book { now, ..Book::default() });
        let authority = Self(Arc::new(Shared { url, issuer, book }));
        let routes = Router::new()
            .route("/directory", get(directory))
            .route("/nonce", head(nonce))
            .route("/account", post(account))
            .route("/account/{number}", post(change_account))
            .route("/order", post(new_order))
            .route("/order/{number}", post(order))
            .route("/authorization/{number}/{host}", post(authorization))
            .route("/challenge/{number}/{host}/{kind}", post(challenge))
            .route("/finalize/{number}", post(finalize))
            .route("/certificate/{number}", post(certificate))
            .route("/renewal/{certificate}", get(renewal))
            .with_state(authority.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        authority
    }

    pub(super) fn directory(&self) -> String {
        format!("{}/directory", self.0.url)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap()
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.0.url)
    }

    fn new_nonce(&self) -> HeaderValue {
        let nonce = format!("{:032x}", rand::random::<u128>());
        self.book().nonces.insert(nonce.clone());
        HeaderValue::try_from(nonce).unwrap()
    }

    /// A request that is signed by who may ask for it, and has not been sent before (sections 6.2 to 6.5).
    fn signed(&self, path: &str, body: &Bytes) -> Result<Signed, Problem> {
        let mut book = self.book();
        if book.is_down {
            return Err(refused(500, "serverInternal", "the database is on fire"));
        }
        let signed = jws::read(body, &book.accounts, &self.0.url).map_err(|(kind, why)| {
            refused(if kind == "accountDoesNotExist" { 400 } else { 403 }, kind, why)
        })?;
        if signed.url != self.at(path) {
            return Err(refused(403, "unauthorized", format!("{} is signed for {path}", signed.url)));
        }
        if !book.nonces.remove(&signed.nonce) || book.bad_nonces > 0 {
            book.bad_nonces = book.bad_nonces.saturating_sub(1);
            return Err(refused(400, "badNonce", "it is not one of ours"));
        }
        book.requests += 1;
        Ok(signed)
    }

    fn answer(&self, answer: Answer) -> Response {
        let mut response = answer.unwrap_or_else(|problem| {
            let body = json!({
                "type": format!("urn:ietf:params:acme:error:{}", problem.kind),
                "detail": problem.detail,
                "status": problem.status,
            });
            let mut response =
                (StatusCode::from_u16(problem.status).unwrap(), body.to_string()).into_response();
            if let Some(seconds) = problem.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        });
        response.headers_mut().insert("replay-nonce", self.new_nonce());
        response
    }

    fn order_document(&self, number: usize, order: &Order) -> Value {
        let at = |host: &String| self.at(&format!("authorization/{number}/{host}"));
        let identifiers = order.hosts.iter().map(|host| json!({ "type": "dns", "value": host }));
        let mut document = json!({
            "status": order.status,
            "identifiers": identifiers.collect::<Vec<_>>(),
            "authorizations": order.hosts.iter().map(at).collect::<Vec<_>>(),
            "finalize": self.at(&format!("finalize/{number}")),
        });
        if let Some(replaces) = &order.replaces {
            document["replaces"] = json!(replaces);
        }
        if order.chain.is_some() && order.status == "valid" {
            document["certificate"] = json!(self.at(&format!("certificate/{number}")));
        }
        document
    }

    fn sign(&self, order: &mut Order, csr: &[u8], now: u64, instead: Option<&str>) -> Result<(), Problem> {
        let key = csr::key(csr, &order.hosts).map_err(|why| refused(403, "badCSR", why))?;
        let hosts = match instead {
            Some(other) => vec![other.to_owned()],
            None => order.hosts.clone(),
        };
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_before = (UNIX_EPOCH + Duration::from_secs(now)).into();
        params.not_after = (UNIX_EPOCH + Duration::from_secs(now + LIFE)).into();
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&key, &self.0.issuer).unwrap();
        order.chain = Some(signed.pem() + &self.0.issuer.pem());
        Ok(())
    }
}

async fn directory(State(authority): State<Authority>) -> Response {
    if authority.book().is_down {
        return (StatusCode::BAD_GATEWAY, "<html>on fire</html>").into_response();
    }
    let [nonce, account, order] = ["nonce", "account", "order"].map(|path| authority.at(path));
    let mut document = json!({
        "newNonce": nonce, "newAccount": account, "newOrder": order,
        "revokeCert": authority.at("revoke"), "keyChange": authority.at("key"),
    });
    if authority.book().suggests.is_some() {
        document["renewalInfo"] = json!(authority.at("renewal"));
    }
    document.to_string().into_response()
}

async fn nonce(State(authority): State<Authority>) -> HeaderMap {
    [("replay-nonce".parse().unwrap(), authority.new_nonce())].into_iter().collect()
}

async fn account(State(authority): State<Authority>, body: Bytes) -> Response {
    let answer = || {
        let signed = authority.signed("account", &body)?;
        if signed.payload["termsOfServiceAgreed"] != json!(true) {
            return Err(refused(403, "userActionRequired", "agree to the terms"));
        }
        let key = signed.new_key.ok_or_else(|| refused(400, "malformed", "no key"))?;
        let mut book = authority.book();
        if let Some(customer) = book.customer {
            let binding = &signed.payload["externalAccountBinding"];
            jws::is_bound(binding, &key, customer, &authority.at("account"))
                .map_err(|(kind, why)| refused(403, kind, why))?;
        }
        book.accounts.push(key);
        book.contacts.push(signed.payload["contact"].clone());
        let location = authority.at(&format!("account/{}", book.accounts.len()));
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], json!({ "status": "valid" }).to_string())
            .into_response())
    };
    authority.answer(answer())
}

async fn change_account(
    State(authority): State<Authority>,
    Path(number): Path<usize>,
    body: Bytes,
) -> Response {
    let answer = || {
        let signed = authority.signed(&format!("account/{number}"), &body)?;
        authority.book().contacts[number - 1] = signed.payload["contact"].clone();
        Ok(json!({ "status": "valid" }).to_string().into_response())
    };
    authority.answer(answer())
}

async fn new_order(State(authority): State<Authority>, body: Bytes) -> Response {
    let answer = || {
        let signed = authority.signed("order", &body)?;
        let account = signed.account.ok_or_else(|| refused(400, "malformed", "no account"))?;
        if let Some(seconds) = authority.book().limited.take() {
            let problem = refused(429, "rateLimited", "too many orders");
            return Err(Problem { retry_after: Some(seconds), ..problem });
        }
        let hosts = signed.payload["identifiers"].as_array().into_iter().flatten();
        let hosts = hosts.map(|host| host["value"].as_str().unwrap().to_owned()).collect();
        let mut book = authority.book();
        let replaces = signed.payload["replaces"].as_str().map(str::to_owned);
        if let Some(kind) = book.takes_no_successor.filter(|_| replaces.is_some()) {
            return Err(refused(409, kind, "not for the successor of that"));
        }
        let replaces = replaces.filter(|_| !book.says_nothing_of_successors);
        let order = Order { account, hosts, seen: BTreeMap::new(), status: "pending", chain: None, replaces };
        let number = book.orders.len();
        let document = authority.order_document(number, &order).to_string();
        book.orders.push(order);
        let location = authority.at(&format!("order/{number}"));
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], document).into_response())
    };
    authority.answer(answer())
}

async fn order(State(authority): State<Authority>, Path(number): Path<usize>, body: Bytes) -> Response {
    let answer = || {
        authority.signed(&format!("order/{number}"), &body)?;
        let mut book = authority.book();
        let order = &mut book.orders[number];
        let document = authority.order_document(number, order).to_string();
        if order.status == "processing" {
            order.status = "valid";
        }
        Ok(document.into_response())
    };
    authority.answer(answer())
}

async fn authorization(
    State(authority): State<Authority>,
    Path((number, host)): Path<(usize, String)>,
    body: Bytes,
) -> Response {
    let answer = || {
        authority.signed(&format!("authorization/{number}/{host}"), &body)?;
        let book = authority.book();
        let seen = book.orders[number].seen.get(&host);
        let status = match seen {
            None => "pending",
            Some(Ok(())) => "valid",
            Some(Err(_)) => "invalid",
        };
        let challenge = |kind: &str| {
            let mut challenge = json!({
                "type": kind, "status": status, "token": token(number, &host),
                "url": authority.at(&format!("challenge/{number}/{host}/{kind}")),
            });
            if let Some(Err(why)) = seen {
                challenge["error"] =
                    json!({ "type": "urn:ietf:params:acme:error:connection", "detail": why });
            }
            challenge
        };
        let challenges = ["http-01", "tls-alpn-01", "dns-01"].map(challenge);
        let document = json!({
            "status": status,
            "identifier": { "type": "dns", "value": host },
            "challenges": challenges,
        });
        Ok(document.to_string().into_response())
    };
    authority.answer(answer())
}

/// One for each order and host, as hard to guess as a test needs.
fn token(number: usize, host: &str) -> String {
    format!("token-{number}-{}", host.replace('.', "-"))
}

async fn challenge(
    State(authority): State<Authority>,
    Path((number, host, kind)): Path<(usize, String, String)>,
    body: Bytes,
) -> Response {
    let signed = match authority.signed(&format!("challenge/{number}/{host}/{kind}"), &body) {
        Ok(signed) => signed,
        Err(problem) => return authority.answer(Err(problem)),
    };
    let account = signed.account.expect("only accounts know the URL");
    let (expected, plain, tls) = {
        let book = authority.book();
        let thumbprint = book.accounts[account].thumbprint();
        (format!("{}.{thumbprint}", token(number, &host)), book.plain, book.tls)
    };
    let seen = match &*kind {
        "http-01" => look::in_plain(plain, &host, &token(number, &host), &expected).await,
        _ => look::over_tls(tls, &host, &expected).await,
    };
    {
        let mut book = authority.book();
        let order = &mut book.orders[number];
        assert_eq!(order.account, account, "an order is its account's");
        order.seen.insert(host.clone(), seen.clone());
        if seen.is_err() {
            order.status = "invalid";
        } else if order.hosts.iter().all(|host| order.seen.contains_key(host)) && order.status == "pending" {
            order.status = "ready";
        }
    }
    let document = json!({
        "type": kind, "status": "processing", "token": token(number, &host),
        "url": authority.at(&format!("challenge/{number}/{host}/{kind}")),
    });
    authority.answer(Ok(document.to_string().into_response()))
}

async fn finalize(State(authority): State<Authority>, Path(number): Path<usize>, body: Bytes) -> Response {
    let answer = || {
        let signed = authority.signed(&format!("finalize/{number}"), &body)?;
        let csr = jws::decode(signed.payload["csr"].as_str().unwrap_or_default());
        let mut book = authority.book();
        let (now, instead) = (book.now, book.signs_for.clone());
        let order = &mut book.orders[number];
        if order.status != "ready" {
            return Err(refused(403, "orderNotReady", order.status));
        }
        authority.sign(order, &csr, now, instead.as_deref())?;
        order.status = "processing";
        Ok(authority.order_document(number, order).to_string().into_response())
    };
    authority.answer(answer())
}

async fn certificate(State(authority): State<Authority>, Path(number): Path<usize>, body: Bytes) -> Response {
    let answer = || {
        authority.signed(&format!("certificate/{number}"), &body)?;
        let chain = authority.book().orders[number].chain.clone();
        Ok(chain.ok_or_else(|| refused(404, "malformed", "there is none"))?.into_response())
    };
    authority.answer(answer())
}

/// RFC 9773, section 4: anybody may ask.
async fn renewal(State(authority): State<Authority>, Path(certificate): Path<String>) -> Response {
    let mut book = authority.book();
    book.asked.push(certificate);
    let Some((start, end, again)) = book.suggests.filter(|_| !book.is_down) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let [start, end] = [start, end].map(|at| jiff::Timestamp::from_second(at as i64).unwrap().to_string());
    let document = json!({ "suggestedWindow": { "start": start, "end": end } });
    ([(header::RETRY_AFTER, again.to_string())], document.to_string()).into_response()
}
