//! One service over its port: what it keeps, what it refuses and how it says so.

#[allow(dead_code, reason = "each test uses its part of the service")]
mod notes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang::{
    Resources, Service,
    axum::{Router, routing::get},
    sqlx,
    test::TestApp,
};
use serde_json::{Value, json};

/// The field that a refusal names, and its message.
async fn refused(app: &TestApp, method: Method, path: &str, body: Option<Value>) -> (u16, String, String) {
    let reply = app.request("notes", method, path, &[], body).await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let error = &reply.json()["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), text("field"), text("message"))
}

fn expected(status: u16, field: &str, message: &str) -> (u16, String, String) {
    (status, field.to_owned(), message.to_owned())
}

#[tokio::test]
async fn rows_outlive_a_restart_and_seeding_is_repeated_without_harm() {
    let mut app = TestApp::start(notes::sqlite()).await;
    let created = app.post("notes", "/notes", json!({ "text": "second" })).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    app.restart().await;
    let texts = json!([{ "id": 1, "text": "first" }, { "id": 2, "text": "second" }]);
    assert_eq!(app.get("notes", "/notes").await.json(), texts);
    app.stop().await;
}

#[tokio::test]
async fn a_bad_body_is_refused_by_the_name_of_the_field() {
    let app = TestApp::start(notes::sqlite()).await;
    let post = async |body: Value| refused(&app, Method::POST, "/notes", Some(body)).await;
    assert_eq!(post(json!({})).await, expected(422, "text", "is missing"));
    assert_eq!(
        post(json!({ "text": 7 })).await,
        expected(422, "text", "invalid type: integer `7`, expected a string")
    );
    assert_eq!(
        post(json!({ "text": "a", "lines": [{ "quantity": 1 }, { "quantity": -1 }] })).await,
        expected(422, "lines[1].quantity", "invalid value: integer `-1`, expected u32")
    );
    assert_eq!(
        post(json!({ "text": "a", "lines": [{}] })).await,
        expected(422, "lines[0].quantity", "is missing")
    );
    assert_eq!(
        post(json!({ "txt": "a" })).await,
        expected(422, "txt", "unknown field `txt`, expected `text` or `lines`")
    );
    assert_eq!(post(json!([1])).await.1, "[0]");
    assert_eq!(post(json!("a")).await.1, "body");
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let app = TestApp::start(notes::sqlite()).await;
    let send = async |media: &str, body: &str| {
        let request = Request::post("/notes").header("content-type", media).body(Full::from(body.to_owned()));
        let reply = app.send("notes", request.unwrap()).await;
        let problem = reply.json();
        (reply.status.as_u16(), problem["code"].clone(), problem["errors"][0]["field"].clone())
    };
    assert_eq!(send("application/json", "{\"text\":").await, (400, json!("MDG-SVC-001"), json!("body")));
    assert_eq!(
        send("application/json", "{\"text\":\"a\"} x").await,
        (400, json!("MDG-SVC-001"), json!("body"))
    );
    assert_eq!(send("text/plain", "{\"text\":\"a\"}").await, (415, json!("MDG-SVC-007"), Value::Null));
    let accepted = send("application/merge-patch+json; charset=utf-8", "{\"text\":\"a\"}").await;
    assert_eq!(accepted.0, 201);
}

#[tokio::test]
async fn a_bad_path_or_query_is_refused_by_the_name_of_the_parameter() {
    let app = TestApp::start(notes::sqlite()).await;
    let get = async |path: &str| refused(&app, Method::GET, path, None).await;
    assert_eq!(get("/notes/seven").await, expected(422, "id", "\"seven\" is not a whole number"));
    assert_eq!(get("/notes?limit=many").await, expected(422, "limit", "invalid digit found in string"));
    assert_eq!(get("/notes?limit=300").await.1, "limit");
}

#[tokio::test]
async fn a_failure_inside_is_told_to_the_log_only() {
    let app = TestApp::start(notes::sqlite()).await;
    let reply = app.post("notes", "/notes", json!({ "text": "first" })).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    let problem = reply.json();
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("MDG-SVC-004"), &Value::Null));
    assert!(!reply.text().contains("UNIQUE"), "{}", reply.text());
    assert!(problem["trace_id"].is_string() && problem["request_id"].is_string());
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let app = TestApp::start(notes::sqlite()).await;
    let problem = app.get("notes", "/notes/7").await.json();
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("MDG-SVC-002"), &json!("there is no note 7")));
    assert_eq!(app.get("notes", "/nowhere").await.json()["code"], "MDG-SVC-002");
    let wrong = app.request("notes", Method::DELETE, "/notes", &[], None).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET,HEAD,POST"));
}

#[tokio::test]
async fn sqlite_is_set_up_to_lose_nothing() {
    let app = TestApp::start(notes::sqlite()).await;
    let db = app.resources("notes").sqlite().unwrap();
    let pragma = async |name: &str| {
        let read = sqlx::AssertSqlSafe(format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"));
        sqlx::query_scalar::<_, String>(read).fetch_one(&db).await.unwrap()
    };
    assert_eq!(pragma("journal_mode").await, "wal");
    assert_eq!(pragma("synchronous").await, "2", "FULL");
    assert_eq!(pragma("foreign_keys").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_take_turns() {
    let app = TestApp::start(notes::sqlite()).await;
    let db = app.resources("notes").sqlite().unwrap();
    let one = async |_| {
        let mut write = madang::begin_write(&db).await?;
        let next = "UPDATE notes SET text = CAST(CAST(text AS INTEGER) + 1 AS TEXT) WHERE id = 1";
        let read = "SELECT count(*) FROM notes";
        sqlx::query_scalar::<_, i64>(read).fetch_one(&mut *write).await?;
        sqlx::query(next).execute(&mut *write).await?;
        write.commit().await
    };
    let written = futures_util::future::try_join_all((0..50).map(one)).await;
    written.expect("no writer is turned away");
    let text: String =
        sqlx::query_scalar("SELECT text FROM notes WHERE id = 1").fetch_one(&db).await.unwrap();
    assert_eq!(text, "50");
}

#[tokio::test]
async fn readers_go_on_while_writers_wait_for_their_turn() {
    let app = TestApp::start(notes::sqlite()).await;
    let db = app.resources("notes").sqlite().unwrap();
    let first = madang::begin_write(&db).await.unwrap();
    let waiting = (0..20).map(|_| {
        let db = db.clone();
        tokio::spawn(async move { madang::begin_write(&db).await?.commit().await })
    });
    let waiting: Vec<_> = waiting.collect();
    for _ in 0..20 {
        let read = app.get("notes", "/notes");
        let reply = tokio::time::timeout(Duration::from_secs(2), read).await.expect("readers go on");
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert!(waiting.iter().all(|writer| !writer.is_finished()));
    first.commit().await.unwrap();
    for writer in waiting {
        writer.await.unwrap().expect("each gets its turn");
    }
}

#[tokio::test]
async fn one_process_at_a_time_prepares_a_database() {
    let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let service = || {
        let (inside, most) = (inside.clone(), most.clone());
        notes::sqlite().prepare(move |_| {
            let (inside, most) = (inside.clone(), most.clone());
            async move {
                most.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                inside.fetch_sub(1, Relaxed);
                Ok(())
            }
        })
    };
    let first = TestApp::start(Service::new("none")).await;
    let url = first.database_url("notes");
    let databases = [("notes", url.as_str())];
    let start = || TestApp::with_databases(madang::test::Placement::Together, service(), &databases);
    let (_one, _two, _three) = tokio::join!(start(), start(), start());
    assert_eq!(most.load(Relaxed), 1);
}

#[tokio::test]
async fn the_openapi_document_names_the_service() {
    let app = TestApp::start(notes::sqlite()).await;
    let document = app.get("notes", "/openapi.json").await.json();
    assert_eq!((&document["info"]["title"], &document["info"]["version"]), (&json!("notes"), &json!("0")));
    assert!(document["components"]["schemas"]["NewNote"].is_object());
}

#[tokio::test]
async fn a_process_of_several_services_wants_to_know_which() {
    let named = |name: &'static str| {
        Service::new(name).routes(Router::new().route("/", get(move || async move { name })))
    };
    let app = TestApp::start([named("users"), named("orders")]).await;
    assert_eq!(app.get("orders", "/").await.text(), "orders");
    let ask = async |name: Option<&str>| {
        let mut request = Request::get("/").body(Full::default()).unwrap();
        if let Some(name) = name {
            request.headers_mut().insert("madang-service", name.parse().unwrap());
        }
        app.send("users", request).await
    };
    let unnamed = ask(None).await;
    let detail = json!("it has no header madang-service; here are: orders, users");
    assert_eq!((unnamed.status.as_u16(), &unnamed.json()["detail"]), (421, &detail));
    let stranger = ask(Some("payments")).await.json();
    assert_eq!(stranger["detail"], "it names \"payments\"; here are: orders, users");
    assert_eq!((&stranger["code"], stranger["trace_id"].is_string()), (&json!("MDG-SVC-005"), true));
}

#[tokio::test]
async fn one_service_alone_needs_no_name_but_refuses_a_wrong_one() {
    let app = TestApp::start(notes::sqlite()).await;
    let plain = app.send("notes", Request::get("/notes").body(Full::default()).unwrap()).await;
    assert_eq!(plain.status, StatusCode::OK);
    let wrong = Request::get("/notes").header("madang-service", "orders").body(Full::default()).unwrap();
    assert_eq!(app.send("notes", wrong).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let app = TestApp::start(notes::sqlite()).await;
    let stream = tokio::net::TcpStream::connect(app.address("notes")).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/notes", app.address("notes")));
    let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!((response.version(), response.status()), (http::Version::HTTP_2, StatusCode::OK));
    assert!(response.into_body().collect().await.unwrap().to_bytes().starts_with(b"["));
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_deadline_is_past() {
    let slow = Service::new("slow").routes(Router::new().route("/", get(std::future::pending::<String>)));
    let app = TestApp::start(slow).await;
    let reply = app.request("slow", Method::GET, "/", &[("madang-timeout", "50")], None).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["code"]), (504, &json!("MDG-CALL-003")));
}

#[tokio::test]
async fn background_tasks_run_beside_the_requests_and_end_with_the_process() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let beating = Service::new("beating").background(move |resources: Resources| {
        let told = told.clone();
        async move {
            resources.stopping().await;
            told.send("ended").await.expect("the test listens");
        }
    });
    let app = TestApp::start(beating).await;
    assert_eq!(app.get("beating", "/healthz").await.text(), "ready\n");
    app.stop().await;
    assert_eq!(ended.recv().await, Some("ended"));
}
