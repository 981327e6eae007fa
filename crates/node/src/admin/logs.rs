//! What the services say and said.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use futures_util::StreamExt;
use madang_telemetry::{LogFilter, LogQuery};
use madang_wire::{
    Code, Problem,
    log::{LogLevel, LogLine},
};
use tracing::warn;

use super::{Answer, Shared, unknown, unread};
use crate::{
    http::{Failure, lines},
    node::with_causes,
};

/// Which lines are asked for.
#[derive(Debug, Default)]
struct Params {
    names: Vec<String>,
    trace: Option<String>,
    level: Option<LogLevel>,
    grep: Option<String>,
    last: Option<usize>,
    since: Option<u64>,
    until: Option<u64>,
    follow: bool,
}

/// The last lines of the logs of all services or of those named, in the order of time, also of before the node started;
/// one JSON document a line. A stack trace is one line; while it is followed each line of it comes for itself.
#[utoipa::path(get, path = "/v1/logs",
    params(
        ("service" = Option<Vec<String>>, Query, description = "A service or unit; repeatable. All if absent."),
        ("trace" = Option<String>, Query, description = "Only lines of this trace, by its id or by that of its request from outside."),
        ("level" = Option<LogLevel>, Query, description = "Only lines of this level or a worse one."),
        ("grep" = Option<String>, Query, description = "Only lines whose message, or fields as `key=value`, contain this text, in upper or lower case."),
        ("n" = Option<usize>, Query, description = "How many lines to begin with; 100 if absent. More than 10000 means all."),
        ("since" = Option<u64>, Query, description = "Only lines from then on: milliseconds since 1970."),
        ("until" = Option<u64>, Query, description = "Only lines until then: milliseconds since 1970."),
        ("follow" = Option<bool>, Query, description = "Go on with new lines.")),
    responses(
        (status = 200, body = LogLine, content_type = "application/x-ndjson"),
        (status = 400, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn list(State(node): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer<Response> {
    let params = params(query.as_deref().unwrap_or_default())?;
    let mut units = Vec::new();
    for name in &params.names {
        units.push(node.speaks_as(name).ok_or_else(|| unknown(&node, name))?);
    }
    let trace = match params.trace {
        Some(id) => {
            let found = node.traces.find(&id).await.map_err(|error| unread(&error))?;
            let detail =
                || format!("nothing is kept of a request \"{id}\": it was not in the sample, or is too old");
            Some(found.ok_or_else(|| Problem::new(Code::UNKNOWN_NAME).detail(detail()))?)
        }
        None => None,
    };
    let Params { level, grep, since, until, .. } = params;
    let filter = LogFilter { units, level, trace, grep, since, until };
    let query = LogQuery { filter, last: params.last.unwrap_or(100), follow: params.follow };
    let stopping = node.stopped.clone();
    let found = node.logs.query(query).filter_map(|line| async move {
        line.inspect_err(|error| warn!(error = with_causes(error), "a log cannot be read")).ok()
    });
    Ok(lines(found.take_until(stopping.cancelled_owned())))
}

/// Read by hand, because a repeated parameter is a list here.
fn params(query: &str) -> Answer<Params> {
    let mut params = Params::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let bad = |expected: &str| Failure::parameter(&key, expected);
        let time = || value.parse().map(Some).map_err(|_| bad("expected milliseconds since 1970"));
        match key.as_ref() {
            "service" | "unit" => params.names.push(value.into_owned()),
            "trace" => params.trace = Some(value.into_owned()),
            "level" => params.level = Some(value.parse().map_err(|error| bad(&format!("{error}")))?),
            "grep" => params.grep = Some(value.into_owned()),
            "n" => params.last = Some(value.parse().map_err(|_| bad("expected a number of lines"))?),
            "since" => params.since = time()?,
            "until" => params.until = time()?,
            "follow" => params.follow = value.parse().map_err(|_| bad("expected true or false"))?,
            _ => return Err(bad("expected service, trace, level, grep, n, since, until or follow")),
        }
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_service_is_a_list_and_what_is_not_understood_is_named() {
        let read = params("service=users&service=orders&n=5&follow=true&level=warn&grep=a%20b").ok().unwrap();
        assert_eq!(read.names, ["users", "orders"]);
        assert_eq!((read.last, read.follow, read.level), (Some(5), true, Some(LogLevel::Warn)));
        assert_eq!(read.grep.as_deref(), Some("a b"));
        for (query, field) in [("sevice=users", "sevice"), ("level=loud", "level"), ("n=-1", "n")] {
            let Err(Failure(problem)) = params(query) else { panic!("accepted {query}") };
            assert_eq!(problem.errors[0].field, field);
        }
    }
}
