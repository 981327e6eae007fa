//! What a page of somebody else, or a name that somebody else made lead here, gets of the admin API and the dashboard of a
//! node as it runs: nothing, whatever the path, although it brings along all that the owner's browser has.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::owner::{Answer, Owner, ask};

/// Paths of the dashboard of every kind, and some that are nothing: what is refused before anything is looked up is
/// refused for what comes to be there, too.
const PAGES: &[(&str, &str)] = &[
    ("get", "/"),
    ("get", "/services"),
    ("get", "/services/users"),
    ("get", "/services/users/api"),
    ("post", "/services/users/try"),
    ("get", "/logs"),
    ("get", "/traces"),
    ("get", "/charts"),
    ("get", "/routes"),
    ("get", "/events"),
    ("get", "/audit"),
    ("get", "/live"),
    ("get", "/live/logs"),
    ("get", "/confirm"),
    ("post", "/actions"),
    ("get", "/login"),
    ("post", "/login"),
    ("post", "/logout"),
    ("get", "/assets/style.css"),
    ("get", "/openapi.json"),
    ("get", "/no/such/page"),
    ("post", "/v1/no-such-thing"),
    ("put", "/v2/anything"),
    ("delete", "/metrics/x"),
    ("options", "/v1/system"),
    ("head", "/v1/system"),
];

fn is_refusal(answer: &Answer) -> bool {
    answer.status == 403 && (answer.body.is_empty() || answer.body.contains("MDG-ADM-006"))
}

/// Every path of the API with each of its methods, as the document in docs has them, and those of the dashboard.
fn everything() -> Vec<(String, String)> {
    let document = include_str!("../../../../docs/openapi/admin.json");
    let document: Value = serde_json::from_str(document).unwrap();
    let paths: BTreeMap<String, Value> = serde_json::from_value(document["paths"].clone()).unwrap();
    let of_api = paths.into_iter().flat_map(|(path, methods)| {
        let methods: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(move |method| (method, path.replace("{name}", "users").replace("{id}", "1")))
    });
    let pages = PAGES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    of_api.chain(pages).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_or_done_for_other_hosts_and_other_pages() {
    let owner = Owner::start().await;
    let host = owner.host.clone();
    let port = host.rsplit_once(':').unwrap().1;
    let (own, secure) = (format!("http://{host}"), format!("https://{host}"));
    let (rebound, other_port) = (format!("127.0.0.1.evil.example:{port}"), "http://127.0.0.1:1".to_owned());
    let (evil, user) = (format!("evil.example:{port}"), format!("evil@{host}"));
    let foreign: &[(&str, &[(&str, &str)])] = &[
        ("another host", &[("host", &evil)]),
        ("a name that leads here", &[("host", &rebound)]),
        (
            "a name, and a page of it",
            &[("host", &evil), ("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
        ),
        ("no host", &[("host", "")]),
        ("a user before the host", &[("host", &user)]),
        ("another page", &[("host", &host), ("origin", "http://evil.example")]),
        ("a page of another port", &[("host", &host), ("origin", &other_port)]),
        ("a page over TLS", &[("host", &host), ("origin", &secure)]),
        ("a page without an origin", &[("host", &host), ("origin", "null")]),
        (
            "a page that does not say which",
            &[("host", &host), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
        ),
        (
            "a page of the same site",
            &[("host", &host), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")],
        ),
    ];
    let everything = everything();
    assert!(everything.len() > 50, "{everything:?}");
    for (method, path) in &everything {
        for (name, fields) in foreign {
            let answer = owner.ask(&method.to_uppercase(), path, fields).await;
            assert!(is_refusal(&answer), "{method} {path}: {name}: {} {}", answer.head, answer.body);
            assert!(!answer.head.contains("access-control-allow"), "{method} {path}: {}", answer.head);
        }
    }
    // The target counts more than the host (RFC 9112, section 3.2.2).
    let target = format!("http://{evil}/v1/system");
    assert!(is_refusal(&owner.ask("GET", &target, &[("host", &host)]).await));
    // A form in a page of somebody else is a navigation, too.
    let navigates = [("host", &*host), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert!(is_refusal(&owner.ask("POST", "/v1/down", &navigates).await));
    // It was the host and the page: the owner itself is heard, and the node has not been told to stop.
    for path in ["/v1/system", "/metrics", "/openapi.json", "/", "/services/users", "/assets/style.css"] {
        let answer = owner.ask("GET", path, &[("host", &host), ("origin", &own)]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    owner.stop().await;
}

/// What proves to the one half who somebody is is worth nothing to the other.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_heard_without_what_proves_who_they_are() {
    let owner = Owner::start().await;
    let bearer = format!("Bearer {}", owner.token);
    let wrong = format!("Bearer {}0", &owner.token[..owner.token.len() - 1]);
    let short = format!("Bearer {}", &owner.token[..owner.token.len() - 1]);
    let long = format!("{bearer}0");
    let forged = format!("{}0", &owner.cookie[..owner.cookie.len() - 1]);
    let forged = if forged == owner.cookie { format!("{}1", &forged[..forged.len() - 1]) } else { forged };
    let ask = async |method: &str, path: &str, name: &str, value: &str| {
        let stream = TcpStream::connect(&owner.host).await.unwrap();
        ask(stream, method, path, &[("host", &owner.host), (name, value)]).await
    };
    for (method, path) in everything() {
        let (method, api) =
            (method.to_uppercase(), path.starts_with("/v1") || path == "/metrics" || path == "/openapi.json");
        if path.starts_with("/log") && path != "/logs" || path.starts_with("/assets/") {
            continue; // open to everybody of this machine: there one proves it
        }
        let proofs: &[(&str, &str)] = match api {
            true => &[
                ("x", "y"),
                ("cookie", &owner.cookie),
                ("authorization", "Bearer "),
                ("authorization", &short),
                ("authorization", &long),
                ("authorization", &owner.token),
            ],
            false => &[("x", "y"), ("authorization", &bearer), ("cookie", &forged)],
        };
        for (name, value) in proofs {
            let answer = ask(&method, &path, name, value).await;
            assert_eq!(answer.status, 401, "{method} {path} with {name}: {value}: {}", answer.body);
        }
    }
    if !owner.token.ends_with('0') {
        assert_eq!(ask("GET", "/v1/system", "authorization", &wrong).await.status, 401);
    }
    // A page that changes something says the secret of its session, which no page of somebody else can read.
    let origin = format!("http://{}", owner.host);
    for path in ["/actions", "/services/users/try"] {
        let stream = TcpStream::connect(&owner.host).await.unwrap();
        let fields = [("host", &*owner.host), ("cookie", &owner.cookie), ("origin", &origin)];
        let answer = crate::owner::ask(stream, "POST", path, &fields).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
    }
    owner.stop().await;
}
