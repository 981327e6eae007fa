//! Making the calls that an answer needs: at once where they do not need each other, all within one time.

use std::{pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use cel::Value;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER},
    response::Parts,
};
use http_body_util::BodyExt;
use madang_calls::{Body, CallError, Client, Context, Deadline, Form, TraceContext, new_span_id};
use madang_wire::{Code, PROBLEM_JSON, Problem};

use super::{Call, Ready, expression::Scope, value};

/// The most of one answer that is read, in bytes.
const MOST: usize = 1024 * 1024;

/// By how much sooner than the whole the calls are due, so that there is time to answer without those that are late:
/// this share of the time, and this much at most.
const SHARE: u32 = 20;
const AHEAD: Duration = Duration::from_millis(100);

/// Why there is no answer of a service.
pub(super) enum Missing {
    /// It refused, or failed.
    Answered(Parts, Bytes),
    /// It did not answer.
    Failed(CallError),
    /// What it answered cannot be used, or it could not be asked.
    Unfit(String),
}

/// What came of the calls.
pub(super) struct Gathered {
    /// The answers, and null for those that are missing.
    pub(super) scope: Scope,
    /// What failed, by the names of calls.
    pub(super) missing: Vec<(Box<str>, Missing)>,
    /// How much was read, in bytes.
    pub(super) size: usize,
}

/// A call without which there is no answer.
pub(super) struct Needed {
    pub(super) name: Box<str>,
    pub(super) why: Missing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not needed, or not yet possible.
    Waits,
    Runs,
    Over,
}

impl Ready {
    /// Makes the calls that are needed, and those that are only then possible. Ends early if one fails without which
    /// there is no answer: the others are given up.
    pub(super) async fn gather(
        &self,
        needs: &[bool],
        client: &Client,
        context: &Context,
        given: &HeaderMap,
        mut scope: Scope,
    ) -> Result<Gathered, Needed> {
        let deadline = context.deadline.map(|due| {
            let ahead = (due.remaining() / SHARE).min(AHEAD);
            Deadline(due.0 - ahead)
        });
        let mut states: Vec<State> =
            needs.iter().map(|needed| if *needed { State::Waits } else { State::Over }).collect();
        let (mut missing, mut size) = (Vec::new(), 0);
        let mut running = FuturesUnordered::new();
        loop {
            for (at, call) in self.calls.iter().enumerate() {
                let possible = call.needs.iter().all(|need| states[*need] == State::Over);
                if states[at] != State::Waits || !possible {
                    continue;
                }
                states[at] = State::Runs;
                let lacks = call
                    .needs
                    .iter()
                    .find(|need| missing.iter().any(|(name, _)| *name == self.calls[**need].name));
                let address = match lacks {
                    Some(lacks) => {
                        Err(format!("it was not asked, because {} is missing", self.calls[*lacks].name))
                    }
                    None => call.address.fill(&scope).map_err(|why| format!("it could not be asked: {why}")),
                };
                let context = self.context_of(call, context, deadline);
                running.push(async move {
                    let answer = match address {
                        Ok(uri) => self.ask(call, client, context, given, uri).await,
                        Err(why) => Err(Missing::Unfit(why)),
                    };
                    (at, answer)
                });
            }
            let Some((at, answer)) = running.next().await else { break };
            states[at] = State::Over;
            let call = &self.calls[at];
            let value = match answer {
                Ok((value, read)) => {
                    size += read;
                    value
                }
                Err(why) if call.optional => {
                    missing.push((call.name.clone(), why));
                    Value::Null
                }
                Err(why) => return Err(Needed { name: call.name.clone(), why }),
            };
            scope.insert(call.name.clone(), value);
        }
        Ok(Gathered { scope, missing, size })
    }

    /// A call is a span of its own, below the request that it is made for.
    fn context_of(&self, call: &Call, context: &Context, deadline: Option<Deadline>) -> Context {
        let own = call.timeout.map(Deadline::after);
        Context {
            trace: TraceContext { span_id: new_span_id(), ..context.trace.clone() },
            caller: Some(self.name.clone()),
            deadline: own.into_iter().chain(deadline).min(),
            attempt: 1,
            idempotency_key: None,
            ..context.clone()
        }
    }

    async fn ask(
        &self,
        call: &Call,
        client: &Client,
        context: Context,
        given: &HeaderMap,
        uri: http::Uri,
    ) -> Result<(Value, usize), Missing> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for name in &self.pass {
            for value in given.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let (head, body) = request.into_parts();
        let calling = pin!(client.call_in(context, &call.way.lane, &call.way.policy, head, body));
        let (head, body) = calling.await.map_err(Missing::Failed)?.into_parts();
        let bytes = read(body).await?;
        if !head.status.is_success() {
            return Err(Missing::Answered(head, bytes));
        }
        if head.status == StatusCode::NO_CONTENT {
            return Ok((Value::Null, 0));
        }
        let json: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| Missing::Unfit(format!("it answered what is not JSON: {error}")))?;
        Ok((value::from_json(json), bytes.len()))
    }
}

async fn read(mut body: Body) -> Result<Bytes, Missing> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Missing::Unfit(format!("its answer broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MOST {
            return Err(Missing::Unfit(format!("it answered more than {MOST} bytes")));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

// === impl Missing ===

impl Missing {
    /// What is said of it where there is an answer nevertheless.
    pub(super) fn problem(&self) -> serde_json::Value {
        match self {
            Self::Answered(head, body) if is_problem(head) => {
                serde_json::from_slice(body).unwrap_or_else(|_| own(&answered(head.status)))
            }
            Self::Answered(head, _) => own(&answered(head.status)),
            Self::Failed(error) => own(&error.problem()),
            Self::Unfit(why) => own(&Problem::new(Code::PART_MISSING).detail(why.clone())),
        }
    }

    /// What is answered where there is no answer without it. What the service says of the thing itself, such as that
    /// there is none, is what the client is to know; that it did not like how it was asked is not.
    pub(super) fn refusal(self, name: &str, context: &Context) -> Response<Body> {
        let why = match self {
            Self::Answered(head, body) if concerns_the_client(head.status) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = head.status;
                for field in [CONTENT_TYPE, RETRY_AFTER] {
                    if let Some(value) = head.headers.get(&field) {
                        response.headers_mut().insert(field, value.clone());
                    }
                }
                return response;
            }
            Self::Failed(error) => return error.response(context, Form::Problem),
            Self::Answered(head, _) => format!("its service answered {}", head.status),
            Self::Unfit(why) => why,
        };
        let problem = Problem::new(Code::PART_MISSING).detail(format!("{name} is missing: {why}"));
        Form::Problem.answer(problem, context, None)
    }
}

fn concerns_the_client(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::TOO_MANY_REQUESTS
    )
}

fn is_problem(head: &Parts) -> bool {
    let media = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_some_and(|media| media.split(';').next().is_some_and(|media| media.trim() == PROBLEM_JSON))
}

fn answered(status: StatusCode) -> Problem {
    Problem::new(Code::PART_MISSING).detail(format!("its service answered {status}"))
}

fn own(problem: &Problem) -> serde_json::Value {
    serde_json::to_value(problem).unwrap_or_default()
}
