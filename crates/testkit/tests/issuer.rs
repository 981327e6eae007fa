//! The built-in issuer and log-in at the gateway, from outside: through the real node, over HTTP as a browser has it.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use madang_testkit::{Answer, Client, Placement, Prepared, TestSystem, free_port};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

const PROGRAM: &str = include_str!("programs/people.py");

const SYSTEM: &str = r#"
    [system]
    name = "shop"

    [issuer]
    listen = {issuer}
    users = "people"
    lifetime = "{lifetime}"
    clients = { other = { redirects = ["http://127.0.0.1:1/back"], scopes = ["orders"] } }

    [gateway]
    listen = "127.0.0.1:{gateway}"
    auth = { built_in = true }
    login = { scope = ["orders"] }

    [services.people]
    run = "python3 people.py"
    routes = [
        "/**",
        { path = "/open/**", require = "none" },
        { path = "/both/**", require = "optional" },
        { path = "/orders/**", require = { scope = "orders" } },
        { path = "/admin/**", require = { role = "admin" } },
    ]
"#;

/// A browser: cookies by name, and requests to two servers.
struct Visitor {
    gateway: SocketAddr,
    issuer: SocketAddr,
    cookies: BTreeMap<String, String>,
}

async fn start(lifetime: &str) -> (TestSystem, Visitor) {
    let issuer = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let manifest = SYSTEM.replace("{issuer}", &issuer.port().to_string()).replace("{lifetime}", lifetime);
    let prepared = Prepared::with(&manifest);
    prepared.write("people.py", PROGRAM);
    prepared.write("service.py", include_str!("programs/service.py"));
    let system = prepared.start(Placement::Processes).await;
    let gateway = system.gateway_address();
    (system, Visitor { gateway, issuer, cookies: BTreeMap::new() })
}

impl Visitor {
    fn cookie(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    async fn send(
        &mut self,
        at: SocketAddr,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let cookie = self.cookie();
        let headers = [&[("cookie", cookie.as_str())], more].concat();
        let answer = Client::new(at).send(method, path, &headers, body.to_owned()).await.unwrap();
        for field in answer.headers.get_all("set-cookie") {
            let field = field.to_str().unwrap();
            assert!(field.contains("HttpOnly") && field.contains("SameSite=Lax"), "{field}");
            let (name, rest) = field.split_once('=').unwrap();
            match field.contains("Max-Age=0;") {
                true => drop(self.cookies.remove(name)),
                false => {
                    drop(self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned()))
                }
            }
        }
        answer
    }

    /// Opens a page at the gateway.
    async fn open(&mut self, path: &str) -> Answer {
        let headers =
            [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        self.send(self.gateway, Method::GET, path, &headers, "").await
    }

    /// What a script of a page asks for.
    async fn fetch(&mut self, path: &str) -> Answer {
        self.send(self.gateway, Method::GET, path, &[("accept", "application/json")], "").await
    }

    async fn post(&mut self, path: &str, more: &[(&str, &str)]) -> Answer {
        self.send(self.gateway, Method::POST, path, more, "").await
    }

    /// From where the gateway sends a browser to where the issuer sends it back.
    async fn log_in(&mut self, sent: &Answer, password: &str) -> Answer {
        let url = location(sent);
        let path = url
            .strip_prefix(&format!("http://{}", self.issuer))
            .unwrap_or_else(|| panic!("{url}"))
            .to_owned();
        let page = self.send(self.issuer, Method::GET, &path, &[], "").await;
        assert_eq!(page.status, 200, "{}", page.text());
        let text = page.text();
        let ticket = text.split_once("name=\"ticket\" value=\"").unwrap().1.split('"').next().unwrap();
        let form = format!("ticket={ticket}&login=alice&password={password}");
        let origin = format!("http://{}", self.issuer);
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())];
        self.send(self.issuer, Method::POST, "/login", &headers, &form).await
    }

    /// Opens a page and logs in for it.
    async fn open_as_alice(&mut self, path: &str) -> Answer {
        let sent = self.open(path).await;
        let back = self.log_in(&sent, "correct+horse").await;
        let at_gateway =
            location(&back).strip_prefix(&format!("http://{}", self.gateway)).unwrap().to_owned();
        let in_again = self.open(&at_gateway).await;
        assert_eq!(in_again.status, 303, "{}", in_again.text());
        self.open(location(&in_again)).await
    }
}

fn location(answer: &Answer) -> &str {
    answer.headers.get("location").map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.json()["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.text()
    );
}

/// A refusal as a person in a browser has it: with the way on.
#[track_caller]
fn shown(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.headers["content-type"].to_str().unwrap()),
        (status, "text/html; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.contains(code) && text.contains("href=\"/.madang/login\""), "{text}");
}

/// Whom a service is told of.
fn told(answer: &Answer) -> Value {
    let seen = answer.json();
    let Some(signed) = seen["headers"]["madang-principal"].as_str() else { return Value::Null };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_and_out_and_nothing_that_is_made_up_is_believed() {
    let (system, mut alice) = start("10m").await;

    // Nobody yet: a page leads to the issuer, a script is told, what asks nobody is open.
    let sent = alice.open("/orders/1?a=b").await;
    assert_eq!(sent.status, 303);
    refused(&alice.fetch("/orders/1").await, 401, "MDG-AUTH-001");
    assert_eq!(told(&alice.fetch("/open/x").await), Value::Null);
    assert_eq!(told(&alice.fetch("/both/x").await), Value::Null);
    assert_eq!(alice.log_in(&sent, "wrong").await.status, 401);

    // In, and back to the page.
    let back = alice.log_in(&sent, "correct+horse").await;
    let callback = location(&back).strip_prefix(&format!("http://{}", alice.gateway)).unwrap().to_owned();
    let mut other = Visitor { cookies: BTreeMap::new(), ..alice };
    shown(&other.open(&callback).await, 400, "MDG-AUTH-007");
    refused(&other.fetch(&callback).await, 400, "MDG-AUTH-007");
    let landed = alice.open(&callback).await;
    assert_eq!(location(&landed), "/orders/1?a=b");
    shown(&alice.open(&callback).await, 400, "MDG-AUTH-007");
    let page = alice.open("/orders/1?a=b").await;
    let who = told(&page);
    assert_eq!((&who["sub"], &who["scope"]), (&json!("1"), &json!("openid orders")));
    assert_eq!((&who["roles"], &who["claims"]), (&json!(["clerk"]), &json!({ "name": "Alice" })));
    let cookie = page.json()["headers"]["cookie"].as_str().unwrap_or_default().to_owned();
    assert!(!cookie.contains("madang-session"), "the session stays at the gateway: {cookie}");
    assert_eq!(told(&alice.fetch("/both/x").await)["sub"], "1");
    let open = alice.fetch("/open/x").await.json();
    assert!(!open["headers"]["cookie"].as_str().unwrap_or_default().contains("madang-session"));
    refused(&alice.fetch("/admin/x").await, 403, "MDG-AUTH-003");

    // What changes something comes from a page of this site.
    let origin = format!("http://{}", alice.gateway);
    for (headers, good) in [
        (&[("sec-fetch-site", "same-origin")][..], true),
        (&[("origin", origin.as_str())], true),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("origin", "http://evil.example")], false),
        (&[], false),
    ] {
        let answer = alice.post("/orders/1", headers).await;
        if good {
            assert_eq!(answer.status, 200, "{headers:?}")
        } else {
            refused(&answer, 403, "MDG-AUTH-006")
        }
    }

    // Made up: a header, a cookie, a session that was changed, one of another purpose.
    let session = alice.cookies["madang-session"].clone();
    let forged = page.json()["headers"]["madang-principal"].as_str().unwrap().to_owned();
    let mut mallory = Visitor { cookies: BTreeMap::new(), ..alice };
    for header in [forged.as_str(), "alice"] {
        let answer =
            mallory.send(mallory.gateway, Method::GET, "/both/x", &[("madang-principal", header)], "").await;
        assert_eq!(told(&answer), Value::Null);
    }
    let bearer = format!("Bearer {session}");
    let answer = mallory.send(mallory.gateway, Method::GET, "/x", &[("authorization", &bearer)], "").await;
    refused(&answer, 401, "MDG-AUTH-002");
    let flow = {
        mallory.open("/x").await;
        mallory.cookies.values().next().unwrap().clone()
    };
    let flipped = |at: usize| {
        let mut bytes = URL_SAFE_NO_PAD.decode(&session).unwrap();
        bytes[at] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    for made_up in
        ["x".to_owned(), flow, flipped(0), flipped(6), flipped(40), session[..session.len() - 8].to_owned()]
    {
        mallory.cookies = [("madang-session".to_owned(), made_up)].into();
        refused(&mallory.fetch("/x").await, 401, "MDG-AUTH-001");
    }

    // Out: the session that somebody copied before is good for nothing either, over a restart too.
    let mut copied = Visitor { cookies: alice.cookies.clone(), ..alice };
    assert_eq!(copied.fetch("/x").await.status, 200);
    refused(&alice.post("/.madang/logout", &[("sec-fetch-site", "cross-site")]).await, 403, "MDG-AUTH-006");
    assert_eq!(alice.open("/.madang/logout").await.status, 405);
    let out = alice.post("/.madang/logout", &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(out.status, 200, "{}", out.text());
    let next = out.headers["refresh"].to_str().unwrap();
    let at_issuer = next.strip_prefix(&format!("0; url=http://{}", alice.issuer)).unwrap().to_owned();
    assert!(!alice.cookies.contains_key("madang-session"));
    let home = alice.send(alice.issuer, Method::GET, &at_issuer, &[], "").await;
    assert_eq!(location(&home), format!("http://{}/", alice.gateway));
    refused(&alice.fetch("/x").await, 401, "MDG-AUTH-001");
    refused(&copied.fetch("/x").await, 401, "MDG-AUTH-001");

    // Nobody is sent elsewhere.
    for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example", "/%0d%0ax"] {
        let mut bob = Visitor { cookies: BTreeMap::new(), ..alice };
        let sent = bob.open(&format!("/.madang/login?return={elsewhere}")).await;
        let back = bob.log_in(&sent, "correct+horse").await;
        let callback = location(&back).strip_prefix(&format!("http://{}", bob.gateway)).unwrap().to_owned();
        assert_eq!(location(&bob.open(&callback).await), "/", "{elsewhere}");
    }
    // The service that knows passwords is asked by the issuer alone.
    let answer = alice.send(alice.gateway, Method::POST, "/madang/login", &[], "{}").await;
    refused(&answer, 404, "MDG-GW-001");
    // What was refused is counted, and `madang routes` says what is asked.
    let metrics = system.admin_text("/metrics").await;
    for (counter, least) in
        [("refused_total{code=\"MDG-AUTH-006\"}", 5), ("key_fetches_total{outcome=\"fetched\"}", 1)]
    {
        let line = metrics.lines().find(|line| line.starts_with(&format!("madang_identity_{counter}")));
        let count: f64 = line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().parse().unwrap();
        assert!(count >= f64::from(least), "{line:?}");
    }
    let routes = system.run(&["routes"]).await;
    for asked in ["scope orders", "role admin", "optional", "principal"] {
        assert!(routes.contains(asked), "{routes}");
    }
    let joins: Value =
        serde_json::from_str(&system.run(&["token", "people", "--format", "json"]).await).unwrap();
    assert_eq!(joins["principal_keys"], page.json()["keys"]);
    let logs = std::fs::read_to_string(system.path().join("up.log")).unwrap();
    assert!(!logs.contains(&session) && !logs.contains("correct"), "no log has a session or a password");
}

/// A token ends after two seconds: the session goes on, with one new token for all who come at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_when_its_token_has_ended_over_a_restart_too() {
    let (mut system, mut alice) = start("2s").await;
    assert_eq!(alice.open_as_alice("/orders/1").await.status, 200);
    let before = alice.cookies["madang-session"].clone();
    let began = Instant::now();
    // All windows of the browser send the session of before, for as long as it is all that they know.
    let renewed = loop {
        let mut windows = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut window = Visitor { cookies: alice.cookies.clone(), ..alice };
            windows.spawn(async move {
                (window.fetch("/orders/1").await.status, window.cookies["madang-session"].clone())
            });
        }
        let all = windows.join_all().await;
        assert!(all.iter().all(|(status, _)| *status == 200), "{all:?}");
        let new: std::collections::BTreeSet<_> =
            all.into_iter().map(|(_, it)| it).filter(|it| *it != before).collect();
        assert!(new.len() <= 1, "one for all of them");
        if let Some(new) = new.into_iter().next() {
            break new;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it is never had anew");
        // Time passes, as in a browser.
        sleep(Duration::from_millis(100)).await;
    };
    alice.cookies.insert("madang-session".to_owned(), renewed);
    system.kill_node().await;
    system.up(Placement::Processes).await;
    assert_eq!(alice.fetch("/orders/1").await.status, 200, "keys and families are kept");

    // A refresh token that is used twice was copied: the family ends, and with it the session.
    let mut copied = Visitor { cookies: [("madang-session".to_owned(), before)].into(), ..alice };
    let answer = copied.fetch("/orders/1").await;
    refused(&answer, 401, "MDG-AUTH-001");
    assert!(!copied.cookies.contains_key("madang-session"), "the browser forgets it");
}

/// The issuer's listener comes, moves and goes by edits, and one that cannot be opened changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_listens_where_an_edit_says() {
    let system =
        Prepared::with("[gateway]\nlisten = \"127.0.0.1:{gateway}\"\n[services.people]\nrun = false\n")
            .start(Placement::Processes)
            .await;
    let [first, second] = [free_port(), free_port()];
    let answers = async |port: u16| {
        let mut answer = Client::new(([127, 0, 0, 1], port).into());
        answer.send(Method::GET, "/keys", &[], String::new()).await.is_ok_and(|it| it.status == 200)
    };
    let becomes = async |port: u16, expected: bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while answers(port).await != expected {
            assert!(Instant::now() < end, "{port} answers: {expected}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let manifest = |more: &str| {
        let gateway = system.gateway_address().port();
        system.write(
            "madang.toml",
            &format!("[gateway]\nlisten = \"127.0.0.1:{gateway}\"\n[services.people]\nrun = false\n{more}"),
        );
    };
    let rotated = system.madang(&["key", "rotate"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
    assert!(!rotated.status.success() && said.contains("no issuer of its own"), "{said}");

    manifest(&format!("[issuer]\nlisten = {first}\n"));
    becomes(first, true).await;
    // Where somebody else is nobody can be.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    manifest(&format!("[issuer]\nlisten = {}\n", taken.local_addr().unwrap().port()));
    system.until_printed("is taken by").await;
    assert!(answers(first).await, "it stays where it was");
    manifest(&format!("[issuer]\nlisten = {second}\n"));
    becomes(second, true).await;
    becomes(first, false).await;

    // A new key signs and is published, beside the one before.
    let keys = async || {
        let mut answer = Client::new(([127, 0, 0, 1], second).into());
        let keys = answer.send(Method::GET, "/keys", &[], String::new()).await.unwrap().json();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = keys().await;
    let said = system.run(&["key", "rotate"]).await;
    let after = keys().await;
    assert_eq!((before.len(), after.len(), &before[0]), (1, 2, &after[0]));
    assert_eq!(said.trim(), format!("http://127.0.0.1:{second} signs with the key {} from now on", after[1]));
    assert!(system.run(&["audit"]).await.contains("sign tokens with a new key"));

    manifest("");
    becomes(second, false).await;
}
