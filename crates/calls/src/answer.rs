//! How a problem is answered, by what the request understands.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use madang_wire::{PROBLEM_JSON, Problem};

use crate::{Body, Context, grpc, names::REQUEST_ID, trace::write_hex};

/// How a problem is answered, by what the request understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As `application/problem+json` (RFC 9457).
    Problem,
    /// As a gRPC status without a message, in the head of the answer ("Trailers-Only").
    Grpc,
}

impl Form {
    /// The form that a request with these headers understands. To be taken before the request is called with.
    pub fn of(request: &HeaderMap) -> Self {
        if grpc::is_grpc(request) { Self::Grpc } else { Self::Problem }
    }

    /// The answer to a client, with the request's id and the trace's.
    pub fn answer(
        self,
        mut problem: Problem,
        context: &Context,
        retry_after: Option<Duration>,
    ) -> Response<Body> {
        problem.request_id = Some(String::from_utf8_lossy(context.request_id.0.as_bytes()).into_owned());
        let mut trace_id = [0; 32];
        write_hex(context.trace.trace_id, &mut trace_id);
        problem.trace_id = Some(String::from_utf8_lossy(&trace_id).into_owned());
        let mut response = match self {
            Self::Problem => as_json(&problem),
            Self::Grpc => as_grpc(&problem),
        };
        let given = response.headers_mut();
        given.insert(REQUEST_ID, context.request_id.0.clone());
        if let Some(pause) = retry_after {
            // In whole seconds, and never so few that it asks to come back too soon.
            given.insert(RETRY_AFTER, HeaderValue::from(pause.as_millis().div_ceil(1000) as u64));
        }
        response
    }
}

fn as_json(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(problem.to_json().into());
    *response.status_mut() = problem.status_code();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn as_grpc(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = grpc_fields(problem);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A problem as a gRPC status: in the head of an answer, or at its end.
pub(crate) fn grpc_fields(problem: &Problem) -> HeaderMap {
    let text = format!("{}: {}", problem.code, problem.detail.as_deref().unwrap_or(&problem.title));
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from(grpc::status_of(problem.status_code())));
    fields.insert("grpc-message", grpc::grpc_message(&text));
    fields
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use madang_wire::Code;

    use super::*;

    #[test]
    fn grpc_is_told_by_its_media_type() {
        let form = |media: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media.parse().unwrap());
            Form::of(&headers)
        };
        assert_eq!(Form::of(&HeaderMap::new()), Form::Problem);
        for media in ["application/grpc", "application/grpc+proto", "application/grpc;x=1"] {
            assert_eq!(form(media), Form::Grpc, "{media}");
        }
        for media in ["application/json", "application/grpc-web", "application/grpcx"] {
            assert_eq!(form(media), Form::Problem, "{media}");
        }
    }

    #[tokio::test]
    async fn a_problem_names_the_request_and_the_trace() {
        let context = Context::root();
        let problem = Problem::new(Code::NO_INSTANCE).detail("no instance of users is ready");
        let response = Form::Problem.answer(problem, &context, Some(Duration::from_millis(1001)));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.request_id.unwrap().as_bytes(), context.request_id.0.as_bytes());
        assert_eq!(problem.trace_id.unwrap(), format!("{:032x}", context.trace.trace_id));
    }

    #[test]
    fn grpc_gets_a_status_in_the_head() {
        let problem = Problem::new(Code::TIMEOUT).detail("100 % of é");
        let response = Form::Grpc.answer(problem, &Context::root(), None);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "4");
        assert_eq!(response.headers()["grpc-message"], "MDG-CALL-003: 100 %25 of %C3%A9");
    }
}
