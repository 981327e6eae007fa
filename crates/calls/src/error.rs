//! Why a call has no answer from the service.

use std::{sync::Arc, time::Duration};

use http::Response;
use madang_model::ServiceName;
use madang_wire::{Code, Problem};

use crate::{Body, BoxError, Context, Form, TooLarge, elsewhere::Refusal, park::RETRY_AFTER};

/// Why a call has no answer from the service.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No instance became ready while the call waited.
    #[error("no instance of {service} is ready")]
    NoInstance {
        /// The service called.
        service: ServiceName,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Nobody starts an instance of it.
    #[error("{service} is left out: {why}")]
    LeftOut {
        /// The service called.
        service: ServiceName,
        /// Why it is.
        why: Arc<str>,
    },
    /// Too many calls wait for an instance already.
    #[error("too many calls wait for an instance of {service}")]
    ParkingFull {
        /// The service called.
        service: ServiceName,
    },
    /// It is not called for a while, because too many calls failed or were slow.
    #[error("{service} is not called for a while, because too many calls failed or were slow")]
    Open {
        /// The service called.
        service: ServiceName,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// As many calls as are allowed are under way, and there is no room or time to wait.
    #[error("{service} has as many calls as it is allowed")]
    Overloaded {
        /// The service called.
        service: ServiceName,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// No connection could be made.
    #[error("failed to connect to {service}")]
    Connect {
        /// The service called.
        service: ServiceName,
        /// Why.
        source: BoxError,
    },
    /// The time ran out.
    #[error("{service} did not answer within {:?}", rounded(*after))]
    Timeout {
        /// The service called.
        service: ServiceName,
        /// The time that it had.
        after: Duration,
    },
    /// The connection broke after the request was sent: the outcome is unknown.
    #[error("the connection to {service} broke before it answered")]
    Broken {
        /// The service called.
        service: ServiceName,
        /// Why.
        source: BoxError,
    },
    /// The caller's own body broke off or could not be read: the service is not to blame.
    #[error("the body of the request to {service} broke off or cannot be read")]
    Upload {
        /// The service called.
        service: ServiceName,
        /// Why.
        source: BoxError,
    },
    /// The caller's own body is larger than it may be: the service is not to blame.
    #[error("{source}")]
    TooLarge {
        /// The service called.
        service: ServiceName,
        /// How large it may be.
        source: TooLarge,
    },
    /// The time ran out while the service waited for more of the caller's body: the service is not to blame.
    #[error("the body of the request to {service} did not come within {after:?}")]
    Stalled {
        /// The service called.
        service: ServiceName,
        /// The time that it had.
        after: Duration,
    },
    /// The caller does not declare the service.
    #[error(
        "{caller} does not declare calls to {service}: add {service} to the `calls` of {caller}{}, \
         as in `calls = {{ {service} = {{}} }}`",
        in_file(calls_at.as_deref())
    )]
    Undeclared {
        /// The caller.
        caller: ServiceName,
        /// The service called.
        service: ServiceName,
        /// Where in the manifest the caller's `calls` are or belong, if that is known.
        calls_at: Option<String>,
    },
    /// The request cannot be made from what was given; nothing was sent.
    #[error("the request to {service} is malformed: {reason}")]
    Malformed {
        /// The service called, as it was named.
        service: String,
        /// What is wrong.
        reason: String,
    },
    /// The service, hosted in this process, panicked.
    #[error("{service} panicked while answering")]
    Panic {
        /// The service called.
        service: ServiceName,
    },
}

fn in_file(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(" in {place}"))
}

impl CallError {
    /// The kind of problem that this is to a client.
    pub fn code(&self) -> Code {
        match self {
            Self::NoInstance { .. } => Code::NO_INSTANCE,
            Self::LeftOut { .. } => Code::LEFT_OUT,
            Self::ParkingFull { .. } => Code::PARKING_FULL,
            Self::Open { .. } => Code::OPEN,
            Self::Overloaded { .. } => Code::OVERLOADED,
            Self::Connect { .. } => Code::CONNECT,
            Self::Timeout { .. } => Code::TIMEOUT,
            Self::Broken { .. } => Code::BROKEN,
            Self::Upload { .. } => Code::BAD_REQUEST,
            Self::TooLarge { .. } => Code::BODY_TOO_LARGE,
            Self::Stalled { .. } => Code::STALLED,
            Self::Undeclared { .. } => Code::UNDECLARED,
            Self::Malformed { .. } => Code::INTERNAL,
            Self::Panic { .. } => Code::PANIC,
        }
    }

    /// Whether the effect may have happened although no answer came.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Broken { .. }
                | Self::Upload { .. }
                | Self::TooLarge { .. }
                | Self::Stalled { .. }
                | Self::Panic { .. }
        )
    }

    /// Whether the same call may be made again later because nothing of it happened.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::NoInstance { .. }
                | Self::LeftOut { .. }
                | Self::ParkingFull { .. }
                | Self::Open { .. }
                | Self::Overloaded { .. }
                | Self::Connect { .. }
        )
    }

    /// When it is worth trying again, where that can be said.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoInstance { retry_after, .. }
            | Self::Open { retry_after, .. }
            | Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::ParkingFull { .. } => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// The answer to a client that understands this form.
    pub fn response(&self, context: &Context, form: Form) -> Response<Body> {
        form.answer(self.problem(), context, self.retry_after())
    }

    /// The problem to answer a client with.
    pub fn problem(&self) -> Problem {
        let detail = match self {
            Self::Connect { source, .. } if source.is::<Refusal>() => format!("{self}: {source}"),
            _ => self.to_string(),
        };
        Problem::new(self.code()).detail(detail)
    }
}

/// A time to read: nobody asks for parts of a millisecond, unless there is no more.
fn rounded(time: Duration) -> Duration {
    match time.as_millis() {
        0 => time,
        millis => Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_precisely_as_anybody_reads_it() {
        let said =
            |after: Duration| CallError::Timeout { service: "users".parse().unwrap(), after }.to_string();
        assert_eq!(said(Duration::from_nanos(306_074_787)), "users did not answer within 306ms");
        assert_eq!(said(Duration::from_secs(15)), "users did not answer within 15s");
        assert_eq!(said(Duration::from_micros(250)), "users did not answer within 250µs");
    }
}
