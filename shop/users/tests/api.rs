//! The users service as its callers see it.

use madang::{axum::http::StatusCode, test::TestApp};
use serde_json::{Value, json};

#[tokio::test]
async fn alice_and_bob_are_there_from_the_start() {
    let app = TestApp::start(shop_users::service()).await;
    let reply = app.get("users", "/users").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.text(), r#"[{"id":1,"name":"Alice"},{"id":2,"name":"Bob"}]"#);
    assert_eq!(app.get("users", "/users/1").await.json(), json!({"id": 1, "name": "Alice"}));
}

#[tokio::test]
async fn a_user_that_is_added_stays_over_a_restart() {
    let mut app = TestApp::start(shop_users::service()).await;
    let reply = app.post("users", "/users", json!({"name": " 김하나 "})).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.json(), json!({"id": 3, "name": "김하나"}));
    assert_eq!(reply.header("location"), "/users/3");
    app.restart().await;
    assert_eq!(app.get("users", "/users/3").await.json(), json!({"id": 3, "name": "김하나"}));
    assert_eq!(app.get("users", "/users").await.json().as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let app = TestApp::start(shop_users::service()).await;
    for n in 3..=7 {
        app.post("users", "/users", json!({"name": format!("user {n}")})).await;
    }
    let mut path = "/users?limit=3".to_owned();
    let mut ids = Vec::new();
    loop {
        let reply = app.get("users", &path).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let page = reply.json();
        ids.extend(page.as_array().unwrap().iter().map(|user| user["id"].as_i64().unwrap()));
        match reply.header("link").strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\"")) {
            Some((next, _)) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(ids, (1..=7).collect::<Vec<i64>>());
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_the_field() {
    let app = TestApp::start(shop_users::service()).await;
    let check = async |path: &str, body: Option<Value>, status: u16, field: &str| {
        let reply = match body {
            Some(body) => app.post("users", path, body).await,
            None => app.get("users", path).await,
        };
        assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{path}: {}", reply.text());
    };
    check("/users", Some(json!({"name": "  "})), 422, "name").await;
    check("/users", Some(json!({"name": "a".repeat(101)})), 422, "name").await;
    check("/users", Some(json!({})), 422, "name").await;
    check("/users", Some(json!({"name": 1})), 422, "name").await;
    check("/users", Some(json!({"name": "a", "admin": true})), 422, "admin").await;
    check("/users?limit=0", None, 422, "limit").await;
    check("/users?limit=501", None, 422, "limit").await;
    check("/users?after=-1", None, 422, "after").await;
    check("/users?page=2", None, 422, "page").await;
    check("/users/x", None, 422, "id").await;
    let reply = app.get("users", "/users/99").await;
    assert_eq!(
        (reply.status, &reply.json()["detail"]),
        (StatusCode::NOT_FOUND, &json!("there is no user 99"))
    );
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let app = TestApp::start(shop_users::service()).await;
    let document = app.get("users", "/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/users", "/users/{id}"]);
    assert!(document["components"]["schemas"]["Problem"].is_object());
}

#[tokio::test]
async fn whoever_has_a_password_logs_in_by_it_over_a_restart_too() {
    let mut app = TestApp::start(shop_users::service()).await;
    let carol = json!({"name": "Carol", "login": " carol ", "password": "correct horse"});
    let reply = app.post("users", "/users", carol.clone()).await;
    assert_eq!((reply.status, reply.json()), (StatusCode::CREATED, json!({"id": 3, "name": "Carol"})));
    assert_eq!(app.post("users", "/users", carol).await.status, StatusCode::CONFLICT);
    assert_eq!(app.get("users", "/users").await.json().as_array().map(Vec::len), Some(3), "nobody was added");
    app.restart().await;
    let log_in = async |login: &str, password: &str| {
        app.post("users", "/madang/login", json!({"login": login, "password": password})).await
    };
    let reply = log_in("carol", "correct horse").await;
    assert_eq!(reply.json(), json!({"subject": "3", "claims": {"name": "Carol"}}));
    for (login, password) in [("carol", "correct hors"), ("Alice", ""), ("nobody", "correct horse"), ("", "")]
    {
        let reply = log_in(login, password).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{login}");
    }
    for (more, field) in [
        (json!({"login": "dave"}), "password"),
        (json!({"password": "correct horse"}), "login"),
        (json!({"login": "dave", "password": "short"}), "password"),
        (json!({"login": " ", "password": "correct horse"}), "login"),
    ] {
        let mut dave = json!({"name": "Dave"});
        dave.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = app.post("users", "/users", dave).await;
        assert_eq!(reply.json()["errors"][0]["field"], field, "{}", reply.text());
    }
}
