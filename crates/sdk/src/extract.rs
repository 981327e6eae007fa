//! What a handler asks for by type. Each refusal is a problem that names the field.

use axum::{
    extract::{
        FromRequest, FromRequestParts, RawPathParams, Request,
        path::ErrorKind,
        rejection::{BytesRejection, PathRejection},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use madang_wire::{Code, Problem};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{PgPool, SqlitePool};

use crate::{Calls, Error, Resources, Result, grpc};

/// A JSON body, of a request or of a response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

/// The parameters of the path: one value, a tuple in their order, or a struct by their names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<T>(pub T);

/// The query of the request's URI, as a struct.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

/// The service's SQLite database.
#[derive(Debug, Clone)]
pub struct Sqlite(pub SqlitePool);

/// The service's PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres(pub PgPool);

// === impl Json ===

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(cause) => Error::internal(cause).into_response(),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if !is_json(&request) {
            return Err(Error::problem(
                Problem::new(Code::UNSUPPORTED_MEDIA).detail("send the body as application/json"),
            ));
        }
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            bad_json(&path, error.inner())
        })?;
        json.end().map_err(|error| bad_json(".", &error))?;
        Ok(Self(value))
    }
}

/// Whether the body says that it is JSON: `application/json` or `application/…+json`.
fn is_json(request: &Request) -> bool {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(media) = media.and_then(|media| media.split(';').next()) else { return false };
    let media = media.trim().to_ascii_lowercase();
    media.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

fn unread(rejection: BytesRejection) -> Error {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Error::problem(Problem::new(Code::TOO_LARGE));
    }
    bad("body", "could not be read to its end", StatusCode::BAD_REQUEST)
}

fn bad_json(path: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    if !error.is_data() {
        return bad("body", format!("is not JSON: {text}"), StatusCode::BAD_REQUEST);
    }
    // The position is that of the whole body's text; the field says more.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    bad_value(path, message, "body")
}

// === impl Path ===

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                let names = RawPathParams::from_request_parts(parts, state).await;
                let names = names.iter().flatten().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
                Err(bad_path(error.into_kind(), &names))
            }
            Err(other) => Err(Error::internal(other)),
        }
    }
}

fn bad_path(kind: ErrorKind, names: &[String]) -> Error {
    let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| "path".to_owned());
    let (field, message) = match kind {
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => (key, expected(&value, expected_type)),
        ErrorKind::ParseErrorAtIndex { index, value, expected_type } => {
            (name(index), expected(&value, expected_type))
        }
        ErrorKind::ParseError { value, expected_type } => (name(0), expected(&value, expected_type)),
        ErrorKind::DeserializeError { key, message, .. } => (key, message),
        ErrorKind::InvalidUtf8InPathParam { key } => (key, "is not UTF-8".to_owned()),
        ErrorKind::Message(message) => (name(0), message),
        // The handler asks for what its route does not have: this service's own mistake.
        other => return Error::internal(other.to_string()),
    };
    bad(field, message, StatusCode::UNPROCESSABLE_ENTITY)
}

fn expected(value: &str, kind: &str) -> String {
    let kind = match kind {
        "i8" | "i16" | "i32" | "i64" | "i128" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "u128" => "a whole number of zero or more",
        "f32" | "f64" => "a number",
        "bool" => "`true` or `false`",
        other => other,
    };
    format!("\"{value}\" is not {kind}")
}

// === impl Query ===

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query = serde_urlencoded::Deserializer::new(pairs);
        let value = serde_path_to_error::deserialize(query)
            .map_err(|error| bad_value(&error.path().to_string(), &error.inner().to_string(), "query"))?;
        Ok(Self(value))
    }
}

// === impl Sqlite, Postgres, Calls, Resources ===

impl<S: Send + Sync> FromRequestParts<S> for Sqlite {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        grpc::resources(&parts.extensions)?.sqlite().map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Postgres {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        grpc::resources(&parts.extensions)?.postgres().map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Calls {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        grpc::calls(&parts.extensions)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Resources {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        grpc::resources(&parts.extensions).cloned()
    }
}

// === refusals ===

fn bad(field: impl Into<String>, message: impl Into<String>, status: StatusCode) -> Error {
    let (field, message) = (field.into(), message.into());
    let problem = Problem::new(Code::INVALID).with_status(status).detail(format!("{field}: {message}"));
    Error::problem(problem.field(field, message))
}

/// A value that does not fit its type. serde reports a missing or unknown field at the place of its parent and
/// names it in the text only, so the name is taken from there.
fn bad_value(path: &str, message: &str, whole: &str) -> Error {
    let parent = if path == "." { "" } else { path };
    let named = ["missing field `", "unknown field `"].iter().find_map(|start| {
        let (name, _) = message.strip_prefix(start)?.split_once('`')?;
        Some(name)
    });
    let field = match (parent, named) {
        // An unknown field is already part of the path.
        (parent, Some(name)) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        ("", Some(name)) => name.to_owned(),
        (parent, Some(name)) => format!("{parent}.{name}"),
        ("", None) => whole.to_owned(),
        (parent, None) => parent.to_owned(),
    };
    let message = match named {
        Some(_) if message.starts_with("missing") => "is missing",
        _ => message,
    };
    bad(field, message, StatusCode::UNPROCESSABLE_ENTITY)
}
