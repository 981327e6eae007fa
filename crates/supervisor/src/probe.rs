//! Whether an instance can be called: its health path answers 2xx, or gRPC's own health check says that it serves,
//! or its port accepts, or it still runs.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::{http1, http2},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_model::Protocol;
use tokio::{
    net::TcpStream,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::{
    config::{Config, Probing},
    family::Family,
    ports,
    spec::Spec,
};

/// How quickly an instance that is starting is probed first, and how slowly last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// How an instance is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// GET this path on this port.
    Get { port: u16, path: String, protocol: Protocol },
    /// Ask the health check of gRPC (`grpc.health.v1`) on this port about the process as a whole.
    Grpc { port: u16 },
    /// Connect to this port.
    Connect { port: u16 },
    /// It runs, which whoever probes knows.
    Runs,
}

/// When to probe, and what the answers mean.
#[derive(Debug)]
pub(crate) struct Cadence {
    rule: Probing,
    /// The pause while it is not ready.
    pause: Duration,
    ready: bool,
    failures: u32,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Ready,
    Lost,
}

// === impl Probe ===

impl Probe {
    /// How an instance of this unit is probed that has this port.
    pub(crate) fn of(spec: &Spec, port: Option<u16>) -> Self {
        match (port, &spec.unit.health) {
            (None, _) => Self::Runs,
            (Some(port), None) if spec.protocol == Protocol::Grpc => Self::Grpc { port },
            (Some(port), None) => Self::Connect { port },
            (Some(port), Some(path)) => Self::Get { port, path: path.clone(), protocol: spec.protocol },
        }
    }

    /// Probes one that is not ready, and makes sure that it is its own answer, and not that of somebody who took its
    /// port before it could.
    pub(crate) async fn first(&self, limit: Duration, family: &Family) -> Result<Option<SocketAddr>, String> {
        let Some(address) = self.once(limit).await? else { return Ok(None) };
        let family = family.clone();
        let intruder = spawn_blocking(move || ports::intruder(address.port(), &family)).await;
        intruder.ok().flatten().map_or(Ok(Some(address)), Err)
    }

    /// Probes once. Gives where it listens, or what was seen instead, in words.
    pub(crate) async fn once(&self, limit: Duration) -> Result<Option<SocketAddr>, String> {
        let port = match self {
            Self::Runs => return Ok(None),
            Self::Get { port, .. } | Self::Grpc { port } | Self::Connect { port } => *port,
        };
        // Some programs listen on `localhost` alone, which may mean only one of these.
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        match self.at(v4, limit).await {
            Ok(()) => Ok(Some(v4)),
            Err(seen) => self.at(v6, limit).await.map(|()| Some(v6)).map_err(|_| self.words(v4, &seen)),
        }
    }

    async fn at(&self, address: SocketAddr, limit: Duration) -> Result<(), String> {
        let answer = timeout(limit, async {
            let stream = connect(address).await.map_err(|error| in_words(&error))?;
            match self {
                Self::Get { path, protocol, .. } => {
                    let status = get(stream, address, path, *protocol).await?;
                    if status.is_success() { Ok(()) } else { Err(status.as_u16().to_string()) }
                }
                Self::Grpc { .. } => check(stream, address).await,
                Self::Connect { .. } | Self::Runs => Ok(()),
            }
        });
        answer.await.unwrap_or_else(|_| Err(format!("no answer in {} ms", limit.as_millis())))
    }

    fn words(&self, address: SocketAddr, seen: &str) -> String {
        match self {
            Self::Get { path, .. } => format!("GET {path} on {address}: {seen}"),
            Self::Grpc { .. } => format!("gRPC health check on {address}: {seen}"),
            Self::Connect { .. } | Self::Runs => format!("connect to {address}: {seen}"),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // The kernel may connect a socket to itself when nobody listens on an ephemeral port.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

async fn get(
    stream: TcpStream,
    address: SocketAddr,
    path: &str,
    protocol: Protocol,
) -> Result<StatusCode, String> {
    let words = |error: hyper::Error| error.to_string();
    let request = match protocol.is_http2() {
        true => Request::get(format!("http://{address}{path}")),
        false => Request::get(path).header(header::HOST, address.to_string()),
    };
    let request = request.header(header::USER_AGENT, "madang-probe");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let stream = TokioIo::new(stream);
    if protocol.is_http2() {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.map_err(words)?;
        let _connection = Aborted(tokio::spawn(connection));
        Ok(sender.send_request(request).await.map_err(words)?.status())
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.map_err(words)?;
        let _connection = Aborted(tokio::spawn(connection));
        Ok(sender.send_request(request).await.map_err(words)?.status())
    }
}

/// One message of gRPC: the five bytes before it, and an empty HealthCheckRequest.
const CHECK: &[u8] = &[0; 5];
/// The same with a HealthCheckResponse whose status is SERVING.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];
/// How much of an answer is read: it has one number.
const ANSWER: usize = 64;

async fn check(stream: TcpStream, address: SocketAddr) -> Result<(), String> {
    let words = |error: hyper::Error| error.to_string();
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "madang-probe")
        .body(Full::new(Bytes::from_static(CHECK)))
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(words)?;
    let _connection = Aborted(tokio::spawn(connection));
    let (head, body) = sender.send_request(request).await.map_err(words)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(head.status.as_u16().to_string());
    }
    let body = Limited::new(body, ANSWER).collect().await.map_err(|error| error.to_string())?;
    let status = |headers: &HeaderMap| headers.get("grpc-status").map(|status| status.as_bytes().to_vec());
    let status = status(&head.headers).or_else(|| body.trailers().and_then(status));
    match status.as_deref() {
        Some(b"0") if body.to_bytes() == SERVING => Ok(()),
        Some(b"0") => Err("it does not serve yet".to_owned()),
        Some(b"12") => Err("it has no grpc.health.v1: serve that, or give a path in `health`".to_owned()),
        Some(other) => Err(format!("grpc-status {}", String::from_utf8_lossy(other))),
        None => Err("it answers without a grpc-status".to_owned()),
    }
}

/// A task that ends with whoever waits for it.
struct Aborted<T>(JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Cadence ===

impl Cadence {
    pub(crate) fn new(config: &Config, probe: &Probe, ready: bool) -> Self {
        let pause = if *probe == Probe::Runs { config.settle } else { FIRST_PAUSE };
        Self { rule: config.probe, pause, ready, failures: 0 }
    }

    /// The pause before the next probe: short at first, longer the longer it takes; then the rule's.
    pub(crate) fn pause(&mut self) -> Duration {
        if self.ready {
            return self.rule.every;
        }
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LAST_PAUSE.max(pause));
        pause
    }

    pub(crate) fn seen(&mut self, answered: bool) -> Change {
        match (self.ready, answered) {
            (true, true) => self.failures = 0,
            (true, false) => {
                self.failures += 1;
                if self.failures >= self.rule.failures {
                    self.ready = false;
                    // It is watched closely again, and back as soon as it answers.
                    self.pause = FIRST_PAUSE;
                    return Change::Lost;
                }
            }
            (false, true) => {
                (self.ready, self.failures) = (true, 0);
                return Change::Ready;
            }
            (false, false) => {}
        }
        Change::None
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    /// A server that answers everybody with this; with nothing if it is empty.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request).await;
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        port
    }

    async fn get(port: u16) -> Result<Option<SocketAddr>, String> {
        Probe::Get { port, path: "/healthz".into(), protocol: Protocol::Http }.once(LIMIT).await
    }

    #[tokio::test]
    async fn says_what_it_saw() {
        let good = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(get(good).await, Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, good)))));
        for (answer, expected) in [
            ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "503"),
            ("", "no answer in 300 ms"),
        ] {
            let port = server(answer).await;
            assert_eq!(get(port).await, Err(format!("GET /healthz on 127.0.0.1:{port}: {expected}")));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(Probe::Connect { port }.once(LIMIT).await.is_ok());
        drop(listener);
        let refused = Probe::Connect { port }.once(LIMIT).await;
        assert_eq!(refused, Err(format!("connect to 127.0.0.1:{port}: connection refused")));
    }

    #[tokio::test]
    async fn finds_one_that_listens_on_ipv6_alone() {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            // A machine without IPv6 has no such program either.
            return;
        };
        let address = listener.local_addr().unwrap();
        assert_eq!(Probe::Connect { port: address.port() }.once(LIMIT).await, Ok(Some(address)));
    }

    #[test]
    fn three_failures_in_a_row_take_it_out_and_one_answer_brings_it_back() {
        let mut cadence = Cadence::new(&Config::default(), &Probe::Connect { port: 1 }, false);
        let answers = [false, true, false, false, true, false, false, false, false, true];
        let changes: Vec<_> = answers.iter().map(|&answered| cadence.seen(answered)).collect();
        use Change::*;
        assert_eq!(changes, [None, Ready, None, None, None, None, None, Lost, None, Ready]);
    }

    #[test]
    fn probes_are_close_at_first() {
        let mut cadence = Cadence::new(&Config::default(), &Probe::Connect { port: 1 }, false);
        let pauses: Vec<_> = (0..12).map(|_| cadence.pause().as_millis()).collect();
        assert_eq!(pauses[..4], [20, 30, 45, 67]);
        assert_eq!(pauses[11], 500);
        cadence.seen(true);
        assert_eq!(cadence.pause(), Duration::from_secs(5));
    }
}
