//! What another service answered.

use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use madang_calls::{Body, BoxError};
use madang_model::ServiceName;
use madang_wire::{Code, PROBLEM_JSON, Problem};
use serde::de::DeserializeOwned;

/// The most bytes of an answer that are read into memory; a longer one is read as a stream.
const REPLY_LIMIT: usize = 16 * 1024 * 1024;

/// What another service answered, whatever its status. The head is here; the body is still on its way.
pub struct Reply {
    service: ServiceName,
    response: Response<Body>,
}

/// Why an answer is not what its caller needs.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The body broke off.
    #[error("failed to read the answer of {service}")]
    Read {
        /// The service called.
        service: ServiceName,
        /// Why.
        source: BoxError,
    },
    /// The body is longer than is read into memory.
    #[error("the answer of {service} is longer than {limit} bytes: read it as a stream")]
    TooLong {
        /// The service called.
        service: ServiceName,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The body is not of the type asked for.
    #[error("failed to understand the answer of {service} at {field}")]
    Decode {
        /// The service called.
        service: ServiceName,
        /// Where it differs, as a path.
        field: String,
        /// How.
        source: serde_json::Error,
    },
    /// The status is one of failure.
    #[error("{service} answered {status}")]
    Status {
        /// The service called.
        service: ServiceName,
        /// Its answer.
        status: StatusCode,
    },
}

impl Reply {
    pub(crate) fn new(service: ServiceName, response: Response<Body>) -> Self {
        Self { service, response }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// This reply if its status is one of success, an error otherwise.
    pub fn error_for_status(self) -> Result<Self, ReplyError> {
        let status = self.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(ReplyError::Status { service: self.service, status });
        }
        Ok(self)
    }

    /// The whole body, up to 16 MiB.
    pub async fn bytes(self) -> Result<bytes::Bytes, ReplyError> {
        let service = self.service;
        match Limited::new(self.response.into_body(), REPLY_LIMIT).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(source) if source.is::<LengthLimitError>() => {
                Err(ReplyError::TooLong { service, limit: REPLY_LIMIT })
            }
            Err(source) => Err(ReplyError::Read { service, source }),
        }
    }

    /// The body as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, ReplyError> {
        let service = self.service.clone();
        let body = self.bytes().await?;
        let json = &mut serde_json::Deserializer::from_slice(&body);
        serde_path_to_error::deserialize(json).map_err(|error| {
            let field = error.path().to_string();
            ReplyError::Decode { service, field, source: error.into_inner() }
        })
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub async fn text(self) -> Result<String, ReplyError> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    /// The problem that the service answered; one made from the status if its body is none.
    pub async fn problem(self) -> Problem {
        let (status, service) = (self.status(), self.service.clone());
        let media = self.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if media.is_some_and(|media| media.starts_with(PROBLEM_JSON))
            && let Ok(problem) = self.json().await
        {
            return problem;
        }
        Problem::new(Code::INTERNAL).with_status(status).detail(format!("{service} answered {status}"))
    }

    /// The answer with its body as a stream, trailers included.
    pub fn into_response(self) -> Response<Body> {
        self.response
    }
}
