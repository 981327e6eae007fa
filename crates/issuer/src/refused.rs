//! What a client is told that gets no token (RFC 6749, sections 4.1.2.1 and 5.2).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tracing::error;

use crate::Error;

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Something is missing, there twice or not of its form.
    Request(&'static str),
    /// It is not known who asks.
    Client,
    /// The client does not get tokens this way.
    NotItsWay,
    /// A code or a refresh token is not good.
    Grant(&'static str),
    Scope,
    GrantType,
    ResponseType,
    /// Somebody would have to log in, and must not be asked.
    LoginRequired,
    RequestObject,
    Busy,
    Failed,
}

// === impl Refused ===

impl Refused {
    /// Its code, and what it means.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Request(why) => ("invalid_request", why),
            Self::Client => ("invalid_client", "the client is not known, or does not prove who it is"),
            Self::NotItsWay => {
                ("unauthorized_client", "the client does not get tokens this way: see its grants")
            }
            Self::Grant(why) => ("invalid_grant", why),
            Self::Scope => ("invalid_scope", "the client may not ask for one of these scopes"),
            Self::GrantType => ("unsupported_grant_type", "tokens are not had this way here"),
            Self::ResponseType => ("unsupported_response_type", "the only response type is code"),
            Self::LoginRequired => ("login_required", "nobody is logged in here between two requests"),
            Self::RequestObject => ("request_not_supported", "parameters are taken as they are only"),
            Self::Busy => ("temporarily_unavailable", "too many log in at the moment"),
            Self::Failed => ("server_error", "the issuer failed, and its log says why"),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        error!(%error, source = std::error::Error::source(&error).map(tracing::field::display), "a token is not handed out");
        Self::Failed
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, description) = self.words();
        let status = match self {
            Self::Client => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "error": code, "error_description": description });
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
        if self == Self::Client {
            let challenge = HeaderValue::from_static("Basic realm=\"madang\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
