//! The admin API of a running node, over its unix socket.

use std::{io, marker::PhantomData, path::PathBuf, time::Duration};

use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use madang_wire::Problem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use crate::{failure::Failure, locate::Location};

/// How long a node may take to begin an answer, and to end one that is no stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer, and the longest line of a stream, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// Speaks to the node that runs one system.
pub struct Client {
    socket: PathBuf,
    /// The system in words, and the command that starts it.
    place: String,
    up: String,
}

/// Documents that come one a line.
pub struct Lines<T> {
    body: Incoming,
    buffer: Vec<u8>,
    documents: PhantomData<T>,
}

// === impl Client ===

impl Client {
    /// For the system of a location; nothing is connected yet.
    pub fn new(location: &Location) -> Self {
        Self { socket: location.socket(), place: location.shown(), up: location.command("up") }
    }

    /// For whoever listens at a socket.
    pub fn at(socket: PathBuf) -> Self {
        let place = socket.display().to_string();
        Self { socket, place, up: "madang up".to_owned() }
    }

    /// Reads one document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Sends one document and reads what is made of it.
    pub async fn put_in<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, Failure> {
        let document = serde_json::to_vec(document).map_err(anyhow::Error::from)?;
        self.ask(Method::POST, path, document.into()).await
    }

    /// Takes something away and reads what it was.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        document: Bytes,
    ) -> Result<T, Failure> {
        let body = read(self.send(method, path, document).await?).await?;
        serde_json::from_slice(&body).map_err(|error| unexpected(path, &error))
    }

    /// Tells the node to do something.
    pub async fn post(&self, path: &str) -> Result<(), Failure> {
        read(self.send(Method::POST, path, Bytes::new()).await?).await.map(drop)
    }

    /// Has the node make something, and reads what it made.
    pub async fn make<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::POST, path, Bytes::new()).await
    }

    /// Reads documents as they come.
    pub async fn lines<T: DeserializeOwned>(&self, path: &str) -> Result<Lines<T>, Failure> {
        let body = self.send(Method::GET, path, Bytes::new()).await?.into_body();
        Ok(Lines { body, buffer: Vec::new(), documents: PhantomData })
    }

    /// A connection for each request: they are few, and a stream keeps its own.
    async fn send(&self, method: Method, path: &str, document: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.no_connection(error))?;
        let exchange = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let mut request = Request::builder().method(method).uri(path).header(header::HOST, "madang");
            if !document.is_empty() {
                request = request.header(header::CONTENT_TYPE, "application/json");
            }
            Ok::<_, anyhow::Error>(sender.send_request(request.body(Full::new(document))?).await?)
        };
        let response = timeout(PATIENCE, exchange).await.map_err(|_| slow())?;
        let response =
            response.map_err(|error| if died(&error) { self.not_running() } else { broken(error) })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read(response).await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Failure::Answer(Box::new(problem)),
            Err(_) => Failure::message(format!("the node answered {status} to {path}")),
        })
    }

    fn not_running(&self) -> Failure {
        Failure::NotRunning { place: self.place.clone(), up: self.up.clone() }
    }

    fn no_connection(&self, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => self.not_running(),
            _ => Failure::Failed(
                anyhow::Error::new(error).context(format!("failed to connect to {}", self.socket.display())),
            ),
        }
    }
}

/// Whether the node is gone, killed before it could answer or in the middle of it.
fn died(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    error.chain().any(|cause| {
        match (cause.downcast_ref::<hyper::Error>(), cause.downcast_ref::<io::Error>()) {
            (Some(error), _) => error.is_incomplete_message() || error.is_canceled(),
            (_, Some(error)) => matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof),
            _ => false,
        }
    })
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = timeout(PATIENCE, Limited::new(response.into_body(), LONGEST).collect());
    let body = body.await.map_err(|_| slow())?;
    Ok(body.map_err(|error| broken(anyhow::anyhow!(error)))?.to_bytes())
}

fn slow() -> Failure {
    Failure::Timeout { what: "the node has not answered".to_owned(), within: format!("{PATIENCE:?}") }
}

fn broken(error: anyhow::Error) -> Failure {
    Failure::Failed(error.context("failed to speak to the node"))
}

fn unexpected(path: &str, error: &serde_json::Error) -> Failure {
    let hint = "is it of another version than this command?";
    Failure::message(format!("the node's answer to {path} was not understood: {error}; {hint}"))
}

// === impl Lines ===

impl<T: DeserializeOwned> Lines<T> {
    /// The next document; `None` at the end. Nothing is lost if it is dropped while it waits.
    pub async fn next(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| unexpected("a stream", &error));
            }
            if self.buffer.len() > LONGEST {
                return Err(Failure::message("the node sent a line without an end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    let error = error.into();
                    // A node that is killed ends its streams in the middle.
                    return if died(&error) { Ok(None) } else { Err(broken(error)) };
                }
            }
        }
    }
}

/// A part of a path that may be any text.
pub fn segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_is_followed_ends_with_the_node_that_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut node, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(node.read_u8().await.unwrap());
            }
            let half = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n1\n\r\n";
            node.write_all(half.as_bytes()).await.unwrap();
        });
        let mut lines = Client::at(socket).lines::<u8>("/v1/logs?follow=true").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(1));
        assert_eq!(lines.next().await.unwrap(), None, "no error of a connection");
    }
}
