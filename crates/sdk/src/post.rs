//! Small requests to one server on a plain connection, which is kept for the next one.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use madang_calls::BoxError;
use tokio::{net::TcpStream, time::Instant};

/// How long a connection may have been idle to be used again: below what common servers allow, since a request that
/// meets the end of its connection may be lost.
const IDLE: Duration = Duration::from_secs(4);

/// The largest answer that is read, in bytes.
const ANSWER: usize = 64 * 1024;

/// Sends requests to one server, one after the other.
pub(crate) struct Post {
    authority: String,
    kept: Option<(SendRequest<Full<Bytes>>, Instant)>,
}

impl Post {
    /// To the server at this host and port.
    pub(crate) fn to(authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), kept: None }
    }

    /// Sees to it that there is a connection.
    pub(crate) async fn connect(&mut self) -> Result<(), BoxError> {
        if let Some((sender, used)) = &mut self.kept
            && used.elapsed() < IDLE
            && sender.ready().await.is_ok()
        {
            return Ok(());
        }
        self.kept = None;
        let stream = TcpStream::connect(&self.authority).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; the request under way reports what breaks it.
        tokio::spawn(connection);
        self.kept = Some((sender, Instant::now()));
        Ok(())
    }

    /// Sends a request, whose host is filled in, and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, BoxError> {
        self.connect().await?;
        request.headers_mut().insert(header::HOST, HeaderValue::try_from(&self.authority)?);
        // Taken out, so that a connection that failed in the middle is not used again.
        let Some((mut sender, _)) = self.kept.take() else { return Err("there is no connection".into()) };
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
        self.kept = Some((sender, Instant::now()));
        Ok(Response::from_parts(head, body))
    }
}
