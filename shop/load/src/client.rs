//! HTTP at the gateway: connections that are kept, and answers read to their end.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::args::Gateway;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one gateway. Cloning it gives the same connections.
#[derive(Debug, Clone)]
pub struct Client {
    authority: Arc<(String, u16)>,
    /// Never more than were in use at a time.
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Whether it is what was seen lately, in place of a failure.
    pub is_old: bool,
    /// Its body.
    pub body: Bytes,
}

/// Why something could not be asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("failed to connect to {host}:{port}")]
    Connect {
        /// Where to.
        host: String,
        /// At which port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// It broke before the end of the answer.
    #[error("the connection broke before the answer to {path} ended")]
    Broke {
        /// What was asked for.
        path: String,
        /// How.
        source: hyper::Error,
    },
    /// No answer came.
    #[error("no answer to {path} came in {} s", PATIENCE.as_secs())]
    Late {
        /// What was asked for.
        path: String,
    },
    /// The answer is one of failure.
    #[error("{path} answered {status}: {text}")]
    Answered {
        /// What was asked for.
        path: String,
        /// The status.
        status: StatusCode,
        /// The body.
        text: String,
    },
    /// The answer is not as it should be.
    #[error("failed to understand the answer to {path}")]
    Decode {
        /// What was asked for.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Something is not there or not so.
    #[error("{0}")]
    Unfit(String),
}

impl Failure {
    /// The kind of failure, for a count.
    pub fn class(&self) -> String {
        match self {
            Self::Connect { .. } => "no connection".to_owned(),
            Self::Broke { .. } => "the connection broke".to_owned(),
            Self::Late { .. } => "no answer in time".to_owned(),
            other => other.to_string(),
        }
    }
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The kind of failure that it tells of, for a count: the status with the problem's code.
    pub fn class(&self) -> String {
        let problem = self.json();
        match problem["code"].as_str() {
            Some(code) => format!("{} {code}", self.status.as_u16()),
            None => self.status.as_u16().to_string(),
        }
    }
}

impl Client {
    /// A client without connections.
    pub fn new(gateway: &Gateway) -> Self {
        Self { authority: Arc::new((gateway.host.clone(), gateway.port)), idle: Arc::default() }
    }

    /// Gets a path, whatever the answer is.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, None, None).await
    }

    /// Gets what a path has, as JSON.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        understood(path, self.get(path).await?)
    }

    /// Changes something and gives what is answered, as JSON.
    pub async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        understood(path, self.send(method, path, None, Some(body)).await?)
    }

    /// Sends any request, with a key and JSON if given.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let (host, port) = &*self.authority;
        let mut request =
            Request::builder().method(method).uri(path).header("host", format!("{host}:{port}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).map_err(|error| Failure::Unfit(error.to_string()))?;
        let late = |_| Failure::Late { path: path.to_owned() };
        timeout(PATIENCE, self.exchange(path, request)).await.map_err(late)?
    }

    async fn exchange(&self, path: &str, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let broke = |source| Failure::Broke { path: path.to_owned(), source };
        let mut connection = self.connection().await?;
        let (head, body) = connection.send_request(request).await.map_err(broke)?.into_parts();
        let body = body.collect().await.map_err(broke)?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Answer { status: head.status, is_old: head.headers.contains_key("madang-fallback"), body })
    }

    /// One that is idle and still open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut idle) = idle else { break };
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        let (host, port) = &*self.authority;
        let failed = |source| Failure::Connect { host: host.clone(), port: *port, source };
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(io::Error::other(error)))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn understood<T: DeserializeOwned>(path: &str, answer: Answer) -> Result<T, Failure> {
    if !answer.status.is_success() {
        let text = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
        return Err(Failure::Answered { path: path.to_owned(), status: answer.status, text });
    }
    if answer.is_old {
        return Err(Failure::Unfit(format!(
            "{path} is answered with what was seen lately, not with what is"
        )));
    }
    serde_json::from_slice(&answer.body).map_err(|source| Failure::Decode { path: path.to_owned(), source })
}
