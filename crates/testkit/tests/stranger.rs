//! An issuer that is not of this project: `oidc-provider` of npm, which the OpenID Foundation has certified. Its tokens
//! open doors, and browsers log in on its pages.

use http::Method;
use madang_testkit::{Chromium, Client, Placement, Prepared, TestSystem, free_port, library};
use serde_json::{Value, json};

const SYSTEM: &str = r#"
    [system]
    name = "shop"

    [gateway]
    listen = "127.0.0.1:{gateway}"
    auth = { issuers = [{ issuer = "http://127.0.0.1:{provider}", audience = "shop", roles = "groups" }] }
    login = { client = "gateway", scope = ["orders"], secret = "${secret.provider}" }

    [services.provider]
    run = "node provider.js {provider} http://127.0.0.1:{gateway}"
    port = {provider}
    env = { NODE_PATH = "{node}", SECRET = "${secret.provider}" }

    [services.orders]
    run = "python3 people.py"
    routes = [
        "/**",
        { path = "/orders/**", require = { scope = "orders" } },
        { path = "/clerk/**", require = { role = "clerk" } },
        { path = "/admin/**", require = { role = "admin" } },
    ]
"#;

/// Has characters that both sides must encode (RFC 6749, section 2.3.1).
const SECRET: &str = "s:e c/r%e+t";

async fn start() -> (TestSystem, u16) {
    let port = free_port();
    let node = library("node/node_modules").display().to_string();
    let manifest = SYSTEM.replace("{provider}", &port.to_string()).replace("{node}", &node);
    let prepared = Prepared::with(&manifest);
    prepared.write("provider.js", include_str!("programs/provider.js"));
    prepared.write("people.py", include_str!("programs/people.py"));
    prepared.write("service.py", include_str!("programs/service.py"));
    prepared.write("secret", SECRET);
    let madang = async |args: &[&str]| {
        let output = prepared.madang(args).env("HOME", prepared.path()).output().await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    madang(&["secret", "set", "provider", "--from", "secret"]).await;
    let key = madang(&["secret", "key", "--show"]).await;
    (prepared.with_variable("MADANG_SECRETS_KEY", key.trim()).start(Placement::Processes).await, port)
}

/// The claims of the principal that a service saw.
fn principal(headers: &Value) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let signed = headers["madang-principal"].as_str().expect("a principal");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_strangers_issuer_open_what_they_say() {
    let (system, port) = start().await;
    let mut provider = Client::new(([127, 0, 0, 1], port).into());
    let mut token = async |resource: &str| {
        let form = format!("grant_type=client_credentials&scope=orders&resource=urn:{resource}");
        let fields = [
            ("content-type", "application/x-www-form-urlencoded"),
            // robot:robots
            ("authorization", "Basic cm9ib3Q6cm9ib3Rz"),
        ];
        let answer = provider.send(Method::POST, "/token", &fields, form).await.unwrap();
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
    };
    let (ours, others) = (token("shop").await, token("bank").await);
    for (token, path, status) in [
        (&ours, "/orders/1", 200),
        (&ours, "/clerk/1", 200),
        (&ours, "/admin/1", 403),
        (&others, "/orders/1", 401),
    ] {
        let bearer = format!("Bearer {token}");
        let answer =
            system.client().send(Method::GET, path, &[("authorization", &bearer)], "").await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if status == 200 {
            let who = principal(&answer.json()["headers"]);
            let seen = (&who["sub"], &who["scope"], &who["roles"], &who["from"]);
            let from = json!(format!("http://127.0.0.1:{port}"));
            assert_eq!(seen, (&json!("robot"), &json!("orders"), &json!(["clerk"]), &from));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_and_out_on_the_pages_of_a_strangers_issuer() {
    let (system, port) = start().await;
    let (gateway, provider) = (system.gateway_address().to_string(), format!("127.0.0.1:{port}"));
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    let at = |host: &str| format!("location.host === '{host}' && document.readyState === 'complete'");

    assert_eq!(page.open(&format!("http://{gateway}/orders/1?a=b")).await, 200);
    page.until(&format!("{} && document.querySelector('[name=login]')", at(&provider))).await;
    page.write("[name=login]", "hana").await;
    page.write("[name=password]", "anything").await;
    page.press("Enter").await;
    page.until("document.querySelector('[name=prompt][value=consent]')").await;
    page.click("button[type=submit]").await;
    page.until(&format!("{} && location.pathname === '/orders/1'", at(&gateway))).await;
    assert_eq!(page.eval("location.search").await, "?a=b");
    let seen: Value = serde_json::from_str(&page.text("body").await).unwrap();
    let who = principal(&seen["headers"]);
    assert_eq!((&who["sub"], &who["roles"]), (&json!("hana"), &json!(["clerk"])), "{who}");

    let out = "const form = document.body.appendChild(document.createElement('form')); form.method = 'post'; \
               form.action = '/.madang/logout'; form.submit()";
    page.eval(out).await;
    page.until(&format!("{} && document.querySelector('[name=logout]')", at(&provider))).await;
    page.click("button[name=logout][value=yes]").await;
    // Back at the gateway, whose page asks who they are: nobody any more, here and there.
    page.until(&format!("{} && document.querySelector('[name=login]')", at(&provider))).await;
}
