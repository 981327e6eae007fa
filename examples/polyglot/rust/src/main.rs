//! A stop on the trip, in Rust without Madang's SDK: it listens on `PORT` and finds the others at `NODE_URL` and the
//! like, as a program in any language does.

use std::env;

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, Request, StatusCode, header::HOST},
    routing::get,
};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

const ME: &str = "rust";
const PASSED_ON: [&str; 5] =
    ["traceparent", "tracestate", "x-request-id", "madang-timeout", "madang-principal"];

#[tokio::main]
async fn main() -> Result<()> {
    let port: u16 = env::var("PORT").context("PORT says where to listen")?.parse().context("PORT")?;
    let mut told = signal(SignalKind::terminate())?;
    let routes = Router::new()
        .route("/healthz", get(async || Json(json!({"ready": true}))))
        .route("/rust/trip", get(async |headers: HeaderMap| trip("", &headers).await))
        .route(
            "/rust/trip/{*stops}",
            get(async |Path(stops): Path<String>, headers: HeaderMap| trip(&stops, &headers).await),
        );
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{ME} listens on {port}");
    let stop = async move {
        told.recv().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;
    Ok(())
}

async fn trip(stops: &str, headers: &HeaderMap) -> (StatusCode, Json<Value>) {
    let here = json!({"service": ME, "language": concat!("Rust, since ", env!("CARGO_PKG_RUST_VERSION"))});
    match onward(stops, headers).await {
        Ok((StatusCode::OK, mut after)) => {
            after.insert(0, here);
            (StatusCode::OK, Json(json!({"stops": after})))
        }
        Ok((status, said)) => (status, Json(json!({"error": format!("{ME}: {}", text(&said))}))),
        Err(error) => (StatusCode::BAD_GATEWAY, Json(json!({"error": format!("{ME}: {error:#}")}))),
    }
}

/// The stops after this one: the next is where its variable says, and it is asked for the rest.
async fn onward(stops: &str, headers: &HeaderMap) -> Result<(StatusCode, Vec<Value>)> {
    let (next, rest) = stops.split_once('/').unwrap_or((stops, ""));
    if next.is_empty() {
        return Ok((StatusCode::OK, Vec::new()));
    }
    let Ok(url) = env::var(format!("{}_URL", next.to_uppercase())) else {
        let said = format!("{ME} declares no calls to {next}");
        return Ok((StatusCode::NOT_FOUND, vec![said.into()]));
    };
    let authority = url.strip_prefix("http://").context("a door speaks HTTP")?;
    let path = format!("/{next}/trip/{rest}");
    let mut request = Request::get(path.trim_end_matches('/')).header(HOST, authority);
    for name in PASSED_ON {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let stream = TcpStream::connect(authority).await.context("the door does not open")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
    let said = || body.get("detail").or_else(|| body.get("error")).cloned().into_iter().collect();
    Ok((status, body["stops"].as_array().cloned().unwrap_or_else(said)))
}

fn text(said: &[Value]) -> &str {
    said.first().and_then(Value::as_str).unwrap_or("no reason given")
}
