//! The dashboard over the real shop, in a real browser: as whoever opens the URL that `madang up` prints.

mod login;
mod looks;

use std::collections::HashMap;

use http::Method;
use madang_testkit::{Chromium, Client, Placement, Prepared, TestSystem};
use madang_wire::admin::State;
use serde_json::json;

use login::{logged_in, login};

/// Every page, with the name of its pictures.
const PAGES: &[(&str, &str)] = &[
    ("map", "/"),
    ("services", "/services"),
    ("service", "/services/orders"),
    ("explorer", "/services/users/api"),
    ("logs", "/logs"),
    ("traces", "/traces"),
    ("trace", "/traces/{trace}"),
    ("why", "/why/{trace}"),
    ("logs-filtered", "/logs?service=orders&service=users&level=info&grep=ready"),
    ("logs-none", "/logs?grep=nobody+says+this"),
    ("compare", "/compare?id={trace}&id={other}"),
    ("metrics", "/charts"),
    ("metrics-service", "/charts?service=orders&window=1h"),
    ("routes", "/routes"),
    ("events", "/events"),
    ("audit", "/audit"),
];

async fn shop() -> TestSystem {
    Prepared::shop().start(Placement::Processes).await
}

async fn order(system: &TestSystem) -> u16 {
    system.post("/orders", json!({"user": 1, "product": "Book"})).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_logged_in_by_the_url_that_up_prints_and_restarts_a_service() {
    let system = shop().await;
    let (url, login) = login(&system).await;
    system.until_printed(&login).await; // by `up`
    let browser = Chromium::start().await;
    let page = browser.page().await;

    assert_eq!(page.open(&url).await, 401);
    assert_eq!(page.text("pre code").await, "madang open");
    page.errors().await; // the 401 is one to the console
    assert_eq!(page.open(&login).await, 200);
    assert_eq!(page.eval("location.pathname + location.search").await, "/", "the token leaves the address");
    assert_eq!(page.eval("document.cookie").await, "", "no script sees the session");

    page.open(&format!("{url}/services")).await;
    page.until("document.getElementById('connection').textContent === 'live'").await;
    let before = system.pids("users").await;
    page.click("button[aria-label='Restart users']").await;
    page.until("document.getElementById('confirm').open").await;
    page.picture("restart-question").await;
    page.click("#confirm button[value=no]").await;
    page.until("!document.getElementById('confirm').open").await;
    assert_eq!(system.pids("users").await, before, "who cancels changes nothing");

    page.click("button[aria-label='Restart users']").await;
    page.until("document.getElementById('confirm').open").await;
    page.click("#confirm button[value=yes]").await;
    page.until("document.querySelector('.notice')?.textContent.includes('users is being restarted')").await;
    system
        .until("restarted", |rows| {
            let users: Vec<_> = rows.iter().filter(|row| row.unit == "users").collect();
            users.len() == 1 && users[0].state == State::Ready && !before.contains(&users[0].pid.unwrap_or(0))
        })
        .await;
    let audit = system.run(&["audit"]).await;
    let line = audit.lines().nth(1).unwrap();
    assert!(line.contains("restart users") && line.contains("session ") && line.contains("done"), "{audit}");

    // Stopped and started, each as the page then says it.
    for (label, word) in [("Stop users", "stopped"), ("Start users", "ready")] {
        page.click(&format!("button[aria-label='{label}']")).await;
        page.until("document.getElementById('confirm').open").await;
        page.click("#confirm button[value=yes]").await;
        page.until(&format!("document.querySelector('#service-users .badge')?.textContent === '{word}'"))
            .await;
        if word == "stopped" {
            assert_eq!(
                system.get("/users/1").await.json()["code"],
                "MDG-CALL-010",
                "callers are told at once"
            );
        }
    }
    assert_eq!(system.get("/users/1").await.status, 200);
    assert_eq!(page.errors().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_shows_live_traffic_and_a_red_edge_leads_to_what_failed() {
    let system = shop().await;
    let browser = Chromium::start().await;
    let (page, url) = logged_in(&system, &browser).await;
    page.until("document.getElementById('connection').textContent === 'live'").await;
    let way = "#edge-orders-payments";
    page.until(&format!(
        "document.querySelector('{way}')?.getAttribute('aria-label').endsWith('no traffic')"
    ))
    .await;

    // Nobody loads the page again: what happens comes by itself.
    assert_eq!(order(&system).await, 201);
    page.until(&format!("document.querySelector('{way}.some:not(.bad) text')?.textContent.includes('/s')"))
        .await;
    page.until("document.querySelector('#node-gateway .traffic').textContent.includes('/s')").await;
    page.picture("map-live").await;

    system.run(&["fault", "add", "orders", "--on", "payments", "--status", "503", "--for", "1m"]).await;
    order(&system).await;
    page.until(&format!("document.querySelector('{way}.bad text')?.textContent.includes('failed')")).await;
    page.picture("map-red").await;
    page.click(&format!("{way} .head")).await;
    page.loaded().await;
    page.until("location.pathname === '/traces' && location.search.includes('error=true')").await;
    assert!(
        page.text(".command code")
            .await
            .starts_with("madang traces --error --service payments --caller orders")
    );
    // The payment may have been tried again meanwhile, which is a trace of its own. Found and clicked in one step: the
    // table is live.
    let ordered = "[...document.querySelectorAll('tbody th a')].find((it) => it.textContent.startsWith('POST /orders'))";
    page.eval(&format!("{ordered}.click()")).await;
    page.loaded().await;
    page.until("location.pathname.startsWith('/traces/')").await;
    assert!(page.text(".waterfall").await.contains("payments"), "{}", page.text(".waterfall").await);
    page.until("document.querySelector('.waterfall rect.bad')").await;
    page.picture("trace-failed").await;
    page.click("#why").await;
    page.loaded().await;
    // The order is taken although its payment waits: the call that failed is explained all the same.
    assert_eq!(page.text("#verdict .badge").await, "went well");
    assert!(page.text("#blame").await.contains("payments"), "{}", page.text("main").await);
    page.picture("why-fault").await;

    // The same call stands for the others in the chart of what it made slow or failed.
    page.open(&format!("{url}/charts?service=payments")).await;
    page.until("document.querySelector('.dot.bad')").await;
    page.picture("metrics-exemplar").await;
    page.click(".dot.bad circle").await;
    page.loaded().await;
    page.until("location.pathname.startsWith('/traces/')").await;
    assert_eq!(page.errors().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_explorer_sends_what_the_service_describes_through_the_gateway() {
    let system = shop().await;
    let browser = Chromium::start().await;
    let (page, url) = logged_in(&system, &browser).await;
    page.open(&format!("{url}/services/users/api")).await;
    page.until("document.querySelectorAll('details.operation').length > 1").await;
    let operation = "[...document.querySelectorAll('details.operation')].find((it) => it.textContent.includes('/users/{id}'))";
    page.eval(&format!("{operation}.open = true; {operation}.id = 'tried'")).await;
    assert_eq!(page.eval("document.querySelector('#tried input[name=path]').value").await, "/users/1");
    page.click("#tried button.primary").await;
    page.loaded().await;
    page.until("document.querySelector('#answer .badge')?.textContent === '200'").await;
    assert!(page.text("#answer pre.body").await.contains("Alice"));
    assert!(page.text(".command code").await.ends_with("/users/1'"));
    page.picture("explorer-answer").await;
    page.click("#answer a.mono").await;
    page.loaded().await;
    page.until("document.querySelector('.waterfall')?.textContent.includes('users')").await;
    assert_eq!(page.errors().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_stays_so_over_a_node_that_is_killed_and_not_over_a_down() {
    let mut system = shop().await;
    system.run(&["stop", "catalog"]).await;
    system.kill_node().await;
    system.up(Placement::Processes).await;
    let catalog = |rows: &[madang_wire::admin::InstanceView]| {
        rows.iter().find(|row| row.unit == "catalog").map(|row| (row.state, row.health.clone())).unwrap()
    };
    let (state, why) = catalog(&system.ps().await);
    assert_eq!(state, State::Stopped);
    assert!(why.starts_with("stopped; `madang start catalog` starts it"), "{why}");
    let problem = system.get("/products").await.text();
    assert!(problem.contains(&why), "clients are told too, and of nobody: {problem}");
    assert!(system.run(&["audit"]).await.contains("stop catalog"), "which the audit names");
    system.down().await;
    system.up(Placement::Processes).await;
    assert_eq!(catalog(&system.ps().await).0, State::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_heard_without_the_token_under_another_name_or_from_a_page_of_somebody_else() {
    let system = shop().await;
    let (url, login) = login(&system).await;
    let token = login.split_once("token=").unwrap().1;
    let address = url.strip_prefix("http://").unwrap();
    let mut client = Client::new(address.parse().unwrap());
    let mut ask = async |method: Method, path: &str, headers: &[(&str, &str)], body: &str| {
        let answer = client.send(method, path, headers, body.to_owned()).await.unwrap();
        (
            answer.status.as_u16(),
            answer.json()["code"].as_str().unwrap_or_default().to_owned(),
            answer.headers,
        )
    };
    let get = Method::GET;
    let bearer = format!("Bearer {token}");
    let bearer = ("authorization", bearer.as_str());

    // The API takes the token and nothing else.
    let (status, code, _) = ask(get.clone(), "/v1/system", &[], "").await;
    assert_eq!((status, code.as_str()), (401, "MDG-ADM-005"));
    assert_eq!(ask(get.clone(), "/v1/system", &[("authorization", "Bearer wrong")], "").await.0, 401);
    assert_eq!(ask(get.clone(), "/v1/system", &[bearer], "").await.0, 200);
    assert_eq!(ask(get.clone(), &format!("/login?token={token}0"), &[], "").await.0, 401);

    let (status, _, headers) = ask(get.clone(), &format!("/login?token={token}"), &[], "").await;
    assert_eq!((status, &headers["location"]), (303, &http::HeaderValue::from_static("/")));
    let cookie = headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    assert_eq!(ask(get.clone(), "/services", &[], "").await.0, 401);
    let (status, _, headers) = ask(get.clone(), "/services", &[cookie], "").await;
    assert_eq!((status, &headers["cache-control"]), (200, &http::HeaderValue::from_static("no-store")));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(ask(get.clone(), "/v1/system", &[cookie], "").await.0, 401, "a session is for pages");

    // Another name that leads here, and pages of others.
    let elsewhere = async |headers: &[(&str, &str)]| {
        let answer = raw(address, "GET", "/v1/system", headers, "").await;
        (answer.0, answer.1.contains("MDG-ADM-006"))
    };
    assert_eq!(elsewhere(&[("host", "shop.example:3900"), bearer]).await, (403, true));
    assert_eq!(elsewhere(&[("host", address), ("origin", "http://127.0.0.1:1"), bearer]).await, (403, true));
    assert_eq!(elsewhere(&[("host", address), ("origin", &url), bearer]).await, (200, false));

    // What changes something says its page and its session's secret.
    let form = "verb=restart&unit=users&back=%2F&confirmed=yes";
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let origin = ("origin", url.as_str());
    let before = system.pids("users").await;
    for headers in [vec![cookie, kind], vec![cookie, kind, origin], vec![kind, origin]] {
        let (status, ..) = ask(Method::POST, "/actions", &headers, form).await;
        assert!(status == 403 || status == 401, "{status} with {headers:?}");
    }
    let page = raw(address, "GET", "/services", &[("host", address), cookie], "").await.1;
    let csrf = page.split_once("name=\"csrf\" content=\"").unwrap().1.split('"').next().unwrap();
    let wrong =
        format!("{form}&csrf={}", csrf.replace(&csrf[..1], if csrf.starts_with('0') { "1" } else { "0" }));
    assert_eq!(ask(Method::POST, "/actions", &[cookie, kind, origin], &wrong).await.0, 403);
    assert_eq!(system.pids("users").await, before);
    let right = format!("{form}&csrf={csrf}");
    assert_eq!(ask(Method::POST, "/actions", &[cookie, kind, origin], &right).await.0, 303);
    system
        .until("restarted", |rows| {
            rows.iter().any(|row| row.unit == "users" && !before.contains(&row.pid.unwrap_or(0)))
        })
        .await;
    let entries = system.admin("/v1/audit?n=1").await;
    assert_eq!(entries[0]["what"], "restart users");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_filtered_followed_and_found_in_what_is_kept() {
    let system = shop().await;
    let browser = Chromium::start().await;
    let (page, url) = logged_in(&system, &browser).await;
    page.open(&format!("{url}/logs")).await;
    page.until("document.getElementById('connection').textContent === 'live'").await;
    page.until("document.querySelector('#tail').textContent.includes('ready')").await;

    // What is asked for is in the address, and in the command.
    page.write("input[name=grep]", "order is over").await;
    page.click("details.choice summary").await;
    page.click("input[name=service][value=orders]").await;
    page.eval("document.querySelector('select[name=level]').value = 'info'").await;
    page.click(".filters button").await;
    page.loaded().await;
    assert_eq!(page.eval("location.search").await, "?grep=order+is+over&level=info&trace=&service=orders");
    assert_eq!(page.text(".command code").await, "madang logs --level info --grep 'order is over' -f orders");
    page.until("document.getElementById('connection').textContent === 'live'").await;
    assert_eq!(page.eval("document.getElementById('tail').rows.length").await, 0);
    page.picture("logs-waiting").await;

    // Lines that come are those that were asked for, and lead to their trace.
    assert_eq!(order(&system).await, 201);
    page.until("document.getElementById('tail').rows.length === 1").await;
    assert!(page.text("#tail .text").await.contains("an order is over"));
    page.picture("logs-followed").await;
    page.click("#tail .links a").await;
    page.loaded().await;
    page.until("location.pathname.startsWith('/traces/')").await;
    assert!(page.text("#lines").await.contains("an order is over"));

    // A page of few lines leads back to older ones, in which nothing follows, and on to the newest.
    page.open(&format!("{url}/logs?n=2")).await;
    let shown = page.text("#tail").await;
    page.click("#older").await;
    page.loaded().await;
    page.until("document.getElementById('tail').rows.length === 2").await;
    assert_ne!(page.text("#tail").await, shown);
    assert_eq!(page.text("#connection").await, "");
    let command = page.text(".command code").await;
    let lines = system.run(&command.split(' ').skip(1).collect::<Vec<_>>()).await;
    assert_eq!(lines.lines().count(), 2, "{command}: {lines}");
    page.click("#newest").await;
    page.loaded().await;
    assert_eq!(page.eval("location.search").await, "");

    // What finds nobody says so, with the form at hand.
    page.open(&format!("{url}/logs?trace=nobody")).await;
    assert!(page.text("#lines .notice").await.contains("nothing is kept of a request \"nobody\""));
    assert_eq!(page.eval("document.querySelector('input[name=trace]').value").await, "nobody");
    assert_eq!(page.errors().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_work_without_scripts() {
    let system = shop().await;
    let browser = Chromium::start().await;
    let (url, login) = login(&system).await;
    let page = browser.page().await;
    page.without_scripts().await;
    assert_eq!(page.open(&login).await, 200);
    page.open(&format!("{url}/logs")).await;
    assert_eq!(page.text("noscript a").await, "Load it again");
    page.write("input[name=grep]", "ready").await;
    page.press("Enter").await;
    page.loaded().await;
    page.until("document.querySelectorAll('#tail tr').length > 0").await;
    let rows =
        "[...document.querySelectorAll('#tail .text')].every((it) => it.textContent.includes('ready'))";
    assert_eq!(page.eval(rows).await, true);
    page.picture("logs-without-scripts").await;

    let before = system.pids("users").await;
    page.open(&format!("{url}/services")).await;
    page.click("button[aria-label='Restart users']").await;
    page.loaded().await;
    assert_eq!(system.pids("users").await, before, "it asks first");
    page.picture("restart-without-scripts").await;
    page.click("main button.primary").await;
    page.loaded().await;
    assert_eq!(page.text(".notice").await, "users is being restarted.");
    system
        .until("restarted", |rows| {
            rows.iter().any(|row| row.unit == "users" && !before.contains(&row.pid.unwrap_or(0)))
        })
        .await;
    assert_eq!(page.errors().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_for_which_there_is_no_stream_says_so_and_looks_for_itself() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let system = shop().await;
    let browser = Chromium::start().await;
    let (url, login) = login(&system).await;
    let address = url.strip_prefix("http://").unwrap();
    let token = login.split_once("/login").unwrap().1;
    let answer = raw(address, "GET", &format!("/login{token}"), &[("host", address)], "").await.1;
    let cookie = answer.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /live?of=/audit HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        held.push(stream);
    }
    let page = browser.page().await;
    assert_eq!(page.open(&login).await, 200);
    page.until("document.getElementById('connection').textContent === 'not live: looks every 5 s'").await;
    assert!(
        page.eval("document.getElementById('connection').title").await.as_str().unwrap().contains("32 pages")
    );
    page.picture("map-not-live").await;

    // What happens is shown nevertheless.
    assert_eq!(order(&system).await, 201);
    page.until("document.querySelector('#node-gateway .traffic').textContent.includes('/s')").await;
    drop(held);
    page.until("document.getElementById('connection').textContent === 'live'").await;
    let errors = page.errors().await;
    assert!(!errors.is_empty() && errors.iter().all(|error| error.contains("503")), "{errors:?}");
}

/// One request as it is written, so that it may say whatever it likes.
async fn raw(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_readable_and_works_by_keyboard_and_on_a_phone() {
    let system = shop().await;
    for _ in 0..3 {
        assert_eq!(order(&system).await, 201);
    }
    let traces = system.admin("/v1/traces?limit=10").await;
    let id = |at: usize| traces["traces"][at]["trace_id"].as_str().unwrap().to_owned();
    let browser = Chromium::start().await;
    let (page, url) = logged_in(&system, &browser).await;
    let pages: HashMap<&str, String> = PAGES
        .iter()
        .map(|(name, path)| (*name, path.replace("{trace}", &id(0)).replace("{other}", &id(1))))
        .collect();
    for (name, path) in pages {
        assert_eq!(page.open(&format!("{url}{path}")).await, 200, "{path}");
        looks::check(&page, name).await;
        assert_eq!(page.errors().await, [""; 0], "{path}");
    }
}
