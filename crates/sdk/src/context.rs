//! What travels with a request, as a handler sees it.

use std::{ops::Deref, time::Duration};

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{Error, Result};

/// What travels with a request: its ids, who calls, and when the answer is due.
#[derive(Debug, Clone)]
pub struct Context(madang_calls::Context);

impl Context {
    /// The id of the request from outside, the same over all calls made on its behalf.
    pub fn request_id(&self) -> &str {
        // An id is visible ASCII by its definition.
        self.0.request_id.0.to_str().unwrap_or_default()
    }

    /// The id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.0.trace.trace_id)
    }

    /// The service that calls; absent for a request from outside.
    pub fn caller(&self) -> Option<&str> {
        self.0.caller.as_ref().map(|caller| caller.as_str())
    }

    /// The client's key for an effect that must happen once.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_ref().and_then(|key| key.to_str().ok())
    }

    /// The time left for the answer; absent if the caller gave none.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.deadline.map(|deadline| deadline.remaining())
    }
}

impl Deref for Context {
    type Target = madang_calls::Context;

    fn deref(&self) -> &madang_calls::Context {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let context = parts.extensions.get::<madang_calls::Context>().cloned();
        context.map(Self).ok_or_else(|| Error::internal("the routes are served outside of a madang service"))
    }
}
