//! A service that is not well: it runs another program behind itself and passes everything on, but for what a file tells
//! it to spoil. So a real service can be slow, fail, hang or crash, as whoever calls it sees it.
//!
//! `saboteur PROGRAM`, with `SABOTAGE` the path of a file that holds `slow 400`, `error`, `hang`, `crash` or nothing. A
//! release can be bad from its first day with `SABOTAGE_RELEASE=error` in its environment. Health is passed on always.

use std::{convert::Infallible, env, net::SocketAddr, process::exit, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
};

type Body = BoxBody<Bytes, hyper::Error>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let program = env::args().nth(1).expect("the program to run");
    let port: u16 = env::var("PORT")?.parse()?;
    let behind = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
    let mut child =
        Command::new(program).env("PORT", behind.port().to_string()).kill_on_drop(true).spawn()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let stream = TokioIo::new(accepted?.0);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, behind));
                    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
                });
            }
            status = child.wait() => exit(status?.code().unwrap_or(1)),
            _ = ended.recv() => {
                if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                }
                exit(child.wait().await?.code().unwrap_or(0));
            }
        }
    }
}

/// What is to be spoiled now.
fn orders() -> String {
    let file = env::var("SABOTAGE").ok().and_then(|file| std::fs::read_to_string(file).ok());
    let told = file.filter(|told| !told.trim().is_empty()).or_else(|| env::var("SABOTAGE_RELEASE").ok());
    told.unwrap_or_default().trim().to_owned()
}

async fn answer(request: Request<Incoming>, behind: SocketAddr) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    let orders =
        if path == "/healthz" || path.starts_with("/grpc.health") { String::new() } else { orders() };
    match orders.split_once(' ').unwrap_or((&orders, "")) {
        ("slow", millis) => tokio::time::sleep(Duration::from_millis(millis.parse().unwrap_or(0))).await,
        ("error", _) => return Ok(refused(request.headers())),
        ("hang", _) => std::future::pending().await,
        ("crash", _) => {
            say(request.headers(), "thread 'main' panicked: index out of bounds");
            exit(101);
        }
        _ => {}
    }
    Ok(forward(request, behind).await.unwrap_or_else(|error| {
        let mut response = Response::new(full(&format!("nothing behind: {error}")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

/// The failure of a service that cannot do its work, in the form of its caller, and in its log.
fn refused(asked: &HeaderMap) -> Response<Body> {
    say(asked, "the disk cannot be written");
    if asked.get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"application/grpc")) {
        let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("13"));
        return response;
    }
    let mut response = Response::new(full("out of order"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn say(asked: &HeaderMap, message: &str) {
    let parent = asked.get("traceparent").and_then(|parent| parent.to_str().ok()).unwrap_or_default();
    let trace = parent.split('-').nth(1).unwrap_or_default();
    println!(r#"{{"level":"ERROR","message":"{message}","trace_id":"{trace}"}}"#);
}

async fn forward(mut request: Request<Incoming>, behind: SocketAddr) -> Result<Response<Body>, Failure> {
    let stream = TokioIo::new(TcpStream::connect(behind).await?);
    let http2 = request.version() == http::Version::HTTP_2;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let response = if http2 {
        *request.uri_mut() =
            Uri::builder().scheme("http").authority(behind.to_string()).path_and_query(path).build()?;
        let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    Ok(response.map(BodyExt::boxed))
}

fn full(text: &str) -> Body {
    Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed()
}
