//! What the issuer does not do, whoever asks.

use http::Method;
use serde_json::json;

use crate::stage::{BACK, NAME, SECRET, Stage, VERIFIER, asking, claims, encoded};

/// Nobody is sent to where the manifest does not say, also not with an error.
#[tokio::test]
async fn nobody_is_sent_anywhere_else() {
    let stage = Stage::start().await;
    for redirect in [
        "https://evil.example/",
        "http://127.0.0.1:3000/callback/",
        "http://127.0.0.1:3000/callback?x",
        "http://127.0.0.1:3000/callback/../evil",
        "http://127.0.0.1:3000@evil.example/callback",
        "HTTP://127.0.0.1:3000/callback",
        "http://127.0.0.1:3000/web?a=b",
        "javascript:alert(1)",
        "",
    ] {
        for more in [("scope", "orders"), ("scope", "nonsense"), ("response_type", "token")] {
            let answer = stage.send(Method::GET, &asking(&[("redirect_uri", redirect), more]), &[], "").await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""), "{redirect}");
        }
    }
    let unknown = stage.send(Method::GET, &asking(&[("client_id", "nobody")]), &[], "").await;
    assert_eq!((unknown.status.as_u16(), unknown.header("location")), (400, ""));
    let twice = stage.send(Method::GET, &(asking(&[]) + "&redirect_uri=https://evil.example"), &[], "").await;
    assert_eq!((twice.status.as_u16(), twice.header("location")), (400, ""));
    let out = format!("/logout?client_id=app&post_logout_redirect_uri={}", "https://evil.example/");
    let out = stage.send(Method::GET, &out, &[], "").await;
    assert_eq!((out.status.as_u16(), out.header("location")), (200, ""));
}

/// Each row is a change of a good request, and with which error the client gets its person back.
#[tokio::test]
async fn what_a_client_may_not_ask_for_is_told_to_it() {
    let stage = Stage::start().await;
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "id_token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("scope", "orders root"), "invalid_scope"),
        (("prompt", "none"), "login_required"),
        (("request", "eyJ"), "request_not_supported"),
        (("client_id", "ci"), "unauthorized_client"),
    ] {
        let answer = stage.send(Method::GET, &asking(&[change]), &[], "").await;
        assert!(answer.header("location").starts_with(BACK), "{change:?} {} {}", answer.status, answer.text);
        let said = ["error", "state", "iss"].map(|name| answer.back(name).unwrap_or_default());
        assert_eq!(said, [error, "st&te", NAME], "{change:?}");
        assert!(answer.back("code").is_none());
    }
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_with_its_verifier_and_for_a_minute() {
    let stage = Stage::start().await;
    let good = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
        ("redirect_uri", BACK),
    ];
    for change in [
        ("code_verifier", "x".repeat(43)),
        ("code_verifier", "short".to_owned()),
        ("code_verifier", String::new()),
        ("redirect_uri", "http://127.0.0.1:3000/other".to_owned()),
    ] {
        let code = stage.code("openid").await;
        let mut form = good
            .map(|(name, value)| if name == change.0 { (name, change.1.as_str()) } else { (name, value) })
            .to_vec();
        form.push(("code", &code));
        assert_eq!(stage.post("/token", &form).await.json()["error"], "invalid_grant", "{change:?}");
        assert_eq!(stage.exchange(&code).await.json()["error"], "invalid_grant", "it is spent: {change:?}");
    }
    let code = stage.code("openid").await;
    let other = [
        ("grant_type", "authorization_code"),
        ("client_id", "web"),
        ("client_secret", SECRET),
        ("code_verifier", VERIFIER),
        ("code", &code),
    ];
    assert_eq!(stage.post("/token", &other).await.json()["error"], "invalid_grant");

    let late = stage.code("openid").await;
    stage.later(61);
    assert_eq!(stage.exchange(&late).await.json()["error"], "invalid_grant");

    let code = stage.code("openid").await;
    let tokens = stage.exchange(&code).await.json();
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(stage.userinfo(token).await.status, 200);
    assert_eq!(stage.exchange(&code).await.json()["error"], "invalid_grant");
    assert_eq!(stage.userinfo(token).await.status, 401, "what it gave has ended");
    assert_eq!(
        stage.refresh(tokens["refresh_token"].as_str().unwrap()).await.json()["error"],
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_client_proves_who_it_is_in_one_way() {
    let stage = Stage::start().await;
    let ask = async |form: &[(&str, &str)], basic: Option<&str>| {
        let basic = basic.map(|text| format!("Basic {text}"));
        let headers: Vec<_> = basic.iter().map(|text| ("authorization", text.as_str())).collect();
        let form = [&[("grant_type", "client_credentials")], form].concat();
        let answer = stage.send(Method::POST, "/token", &headers, &encoded(&form)).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    // `ci:s3cret+%26+more`, encoded as RFC 6749, section 2.3.1, says.
    let basic = Some("Y2k6czNjcmV0KyUyNittb3Jl");
    let (good, unknown) = ((200, String::new()), (401, "invalid_client".to_owned()));
    assert_eq!(ask(&[], basic).await, good);
    assert_eq!(ask(&[("client_id", "ci"), ("client_secret", SECRET)], None).await, good);
    assert_eq!(ask(&[("client_id", "ci")], basic).await, good);
    assert_eq!(ask(&[("client_id", "web")], basic).await, (400, "invalid_request".to_owned()));
    assert_eq!(ask(&[("client_secret", SECRET)], basic).await, (400, "invalid_request".to_owned()));
    for form in [
        &[("client_id", "ci")][..],
        &[("client_id", "ci"), ("client_secret", "s3cret")],
        &[("client_id", "nobody"), ("client_secret", SECRET)],
        &[("client_id", "app"), ("client_secret", SECRET)],
        &[],
    ] {
        assert_eq!(ask(form, None).await, unknown, "{form:?}");
    }
    for basic in ["Y2k6", "!", "Y2k="] {
        assert_eq!(ask(&[], Some(basic)).await, unknown, "{basic}");
    }
    assert_eq!(ask(&[("scope", "root")], basic).await, (400, "invalid_scope".to_owned()));
    assert_eq!(ask(&[("client_id", "app")], None).await, (400, "unauthorized_client".to_owned()));
    let twice = stage
        .send(Method::POST, "/token", &[], "grant_type=client_credentials&client_id=ci&client_id=web")
        .await;
    assert_eq!(twice.json()["error"], "invalid_request");
    let password = [("grant_type", "password"), ("client_id", "ci"), ("client_secret", SECRET)];
    assert_eq!(stage.post("/token", &password).await.json()["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn the_form_is_taken_from_the_page_that_showed_it_only() {
    let stage = Stage::start().await;
    let page = stage.send(Method::GET, &asking(&[]), &[], "").await;
    for (name, value) in
        [("x-frame-options", "DENY"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(page.header(name), value);
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    let cookie = page.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");

    let (ticket, cookie) = (page.ticket(), page.cookie());
    let send = async |ticket: &str, headers: &[(&str, &str)]| {
        let form = [("ticket", ticket), ("login", "alice"), ("password", "correct horse")];
        stage.send(Method::POST, "/login", headers, &encoded(&form)).await
    };
    let mine = ("cookie", cookie.as_str());
    for (ticket, headers) in [
        (&*ticket, &[][..]),
        (&*ticket, &[("cookie", "madang_issuer=AAAA")]),
        (&*ticket, &[mine, ("origin", "http://127.0.0.1:3000")]),
        (&*ticket, &[mine, ("origin", "null")]),
        (&*ticket, &[mine, ("sec-fetch-site", "cross-site")]),
        (&*ticket, &[mine, ("sec-fetch-site", "same-site")]),
        ("made-up", &[mine]),
    ] {
        let answer = send(ticket, headers).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (403, ""), "{headers:?}");
    }
    assert_eq!(send(&ticket, &[mine, ("origin", NAME), ("sec-fetch-site", "same-origin")]).await.status, 303);
    stage.later(901);
    assert_eq!(send(&ticket, &[mine]).await.status, 403);
}

/// A page whose own name leads to this machine reads nothing here.
#[tokio::test]
async fn the_issuer_answers_to_its_own_name() {
    let stage = Stage::start().await;
    for host in ["evil.example", "evil.example:3010", "localhost:3010", "127.0.0.1", "127.0.0.1:3000"] {
        for path in [&asking(&[]), "/keys", "/.well-known/openid-configuration"] {
            let answer = stage.send(Method::GET, path, &[("host", host)], "").await;
            assert_eq!(answer.status.as_u16(), 421, "{host}{path}");
            assert!(!answer.text.contains("ticket"));
        }
    }
    stage.issuer.follow(None);
    assert_eq!(stage.send(Method::GET, "/keys", &[], "").await.status, 404);
}

#[tokio::test]
async fn whoever_is_wrong_learns_nothing_and_is_slowed() {
    let stage = Stage::start().await;
    let wrong = stage.log_in(&asking(&[]), "alice", "wrong").await;
    let nobody = stage.log_in(&asking(&[]), "<nobody>", "wrong").await;
    assert_eq!((wrong.status.as_u16(), nobody.status.as_u16()), (401, 401));
    let said = "The name or the password is not right.";
    assert!(wrong.text.contains(said) && nobody.text.contains(said));
    assert!(!nobody.text.contains("<nobody>") && nobody.text.contains("&lt;nobody&gt;"));
    assert!(!wrong.text.contains("wrong\""), "a password is not shown again");
    for _ in 0..4 {
        assert_eq!(stage.log_in(&asking(&[]), "alice", "wrong").await.status, 401);
    }
    let slowed = stage.log_in(&asking(&[]), " Alice ", "correct horse").await;
    assert_eq!(slowed.status, 429, "however it is written");
    let slowed = stage.log_in(&asking(&[]), "alice", "correct horse").await;
    assert_eq!(slowed.status, 429, "not even the right one");
    assert!(slowed.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=11).contains(&seconds)));
    let down = stage.log_in(&asking(&[]), "broken", "x").await;
    assert!(down.status == 503 && !down.text.contains("the service is down"));
    let taken = stage.log_in(&asking(&[]), "root", "correct horse").await;
    assert_eq!(taken.back("error").as_deref(), Some("server_error"), "a subject that is a client's");
    let long = stage.log_in(&asking(&[]), "alice", &"x".repeat(1025)).await;
    assert_eq!(long.status, 422);
}

#[tokio::test]
async fn tokens_end_and_are_for_one_thing() {
    let stage = Stage::start().await;
    let tokens = stage.exchange(&stage.code("openid").await).await.json();
    let text = |name: &str| tokens[name].as_str().unwrap();
    let said = claims(text("access_token"));
    assert_eq!((&said["iss"], &said["sub"]), (&json!(NAME), &json!("1")), "the service cannot say it");
    assert_eq!(stage.userinfo(text("id_token")).await.status, 401, "it opens nothing");
    assert_eq!(stage.userinfo(text("refresh_token")).await.status, 401);
    let without = stage.exchange(&stage.code("orders").await).await.json();
    assert!(without["id_token"].is_null());
    assert_eq!(stage.userinfo(without["access_token"].as_str().unwrap()).await.status, 403);

    let ask = async |token: &str, client: &str| {
        let form = [("token", token), ("client_id", client), ("client_secret", SECRET)];
        stage.post("/introspect", &form).await.json()
    };
    let active = ask(text("access_token"), "ci").await;
    assert_eq!(
        (&active["active"], &active["sub"], &active["client_id"]),
        (&json!(true), &json!("1"), &json!("app"))
    );
    assert_eq!(ask(text("refresh_token"), "ci").await, json!({ "active": false }), "it is another's");
    assert_eq!(ask("made.up.token", "ci").await, json!({ "active": false }));
    let public = stage.post("/introspect", &[("token", text("access_token")), ("client_id", "app")]).await;
    assert_eq!(public.status, 401);

    // Another client cannot end it, nor use it.
    let form = [("token", text("refresh_token")), ("client_id", "web"), ("client_secret", SECRET)];
    assert_eq!(stage.post("/revoke", &form).await.status, 200);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text("refresh_token")),
        ("client_id", "web"),
        ("client_secret", SECRET),
    ];
    assert_eq!(stage.post("/token", &form).await.json()["error"], "invalid_grant");
    stage.later(601);
    assert_eq!(stage.userinfo(text("access_token")).await.status, 401);
    assert_eq!(ask(text("access_token"), "ci").await, json!({ "active": false }));
    let next = stage.refresh(text("refresh_token")).await;
    assert_eq!(next.status, 200, "it goes on: {}", next.text);
    stage.later(31 * 86_400);
    assert_eq!(
        stage.refresh(next.json()["refresh_token"].as_str().unwrap()).await.json()["error"],
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_log_out_ends_what_followed_and_leads_back() {
    let stage = Stage::start().await;
    let tokens = stage.exchange(&stage.code("openid").await).await.json();
    let hint = tokens["id_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let forged = format!("{}x", &hint[..hint.len() - 1]);
    let form = [("id_token_hint", forged.as_str()), ("client_id", "app")];
    assert_eq!(stage.post("/logout", &form).await.status, 200);
    let next = stage.refresh(refresh).await;
    assert_eq!(next.status, 200, "nobody is logged out by what is made up");
    let form =
        [("id_token_hint", hint), ("post_logout_redirect_uri", "http://127.0.0.1:3000/"), ("state", "s")];
    let out = stage.post("/logout", &form).await;
    assert_eq!(out.header("location"), "http://127.0.0.1:3000/?state=s");
    let next = next.json();
    assert_eq!(stage.refresh(next["refresh_token"].as_str().unwrap()).await.json()["error"], "invalid_grant");
}

/// What a browser lets a program in a page of this origin do and read.
#[tokio::test]
async fn programs_in_pages_ask_where_the_manifest_names_their_origin() {
    let stage = Stage::start().await;
    let (own, evil) = ("https://app.example", "https://evil.example");
    let allow = "access-control-allow-origin";
    for path in ["/token", "/revoke", "/userinfo", "/keys", "/.well-known/openid-configuration"] {
        let ask = |origin: &'static str| [("origin", origin), ("access-control-request-method", "POST")];
        let asked = stage.send(Method::OPTIONS, path, &ask(own), "").await;
        assert_eq!((asked.status.as_u16(), asked.header(allow)), (204, own), "{path}");
        assert_eq!(asked.header("access-control-allow-headers"), "authorization, content-type");
        let foreign = stage.send(Method::OPTIONS, path, &ask(evil), "").await;
        assert_eq!(
            (foreign.header(allow), foreign.header("access-control-allow-methods")),
            ("", ""),
            "{path}"
        );
        for (origin, allowed) in
            [(own, own), (evil, ""), ("null", ""), ("https://app.example.evil.example", "")]
        {
            let method =
                if path.starts_with("/token") || path == "/revoke" { Method::POST } else { Method::GET };
            let answer = stage.send(method, path, &[("origin", origin)], "").await;
            assert_eq!(answer.header(allow), allowed, "{path} for {origin}: also where it is refused");
            assert!(answer.header("vary").contains("Origin"), "{path}");
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                "",
                "nobody is known by a cookie here"
            );
        }
    }
    for path in ["/authorize", "/login", "/logout", "/introspect"] {
        let answer = stage.send(Method::GET, path, &[("origin", own)], "").await;
        assert_eq!(answer.header(allow), "", "{path} is not for programs in pages");
    }
}
