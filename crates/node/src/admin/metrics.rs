//! Metrics: what calls add up to now and over time, and what is measured of instances.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use madang_model::parse_duration;
use madang_telemetry::{MetricFilter, SeriesQuery};
use madang_wire::{
    Problem,
    metrics::{ExternalMetric, InstanceSeries, MetricsSeries, MetricsSummary},
};
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};

use super::{Answer, Shared, unknown, unread};
use crate::{
    http::{Failure, lines},
    node::now,
};

/// The window of a summary unless one is asked for, and the time that a series shows.
const WINDOW: Duration = Duration::from_secs(60);
const SHOWN: Duration = Duration::from_secs(600);
/// The longest time that anything is asked for.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// How many points a series has at most, and about how many if no length is asked for.
const MOST: u64 = 4000;
const ABOUT: u64 = 240;
/// Lengths of points that people read.
const STEPS: [u64; 14] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 10_800, 21_600];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SummaryParams {
    window: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// What the calls of the last seconds add up to: per service, route, pair of caller and callee, and release; with what is
/// measured of instances.
#[utoipa::path(get, path = "/v1/metrics/summary",
    params(
        ("window" = Option<String>, Query, description = "Of how long, as `10s`, `5m` or `1h`; `60s` if absent."),
        ("follow" = Option<bool>, Query, description = "Go on, with one document a line each second.")),
    responses((status = 200, body = MetricsSummary), (status = 400, body = Problem)))]
pub(super) async fn summary(
    State(node): State<Arc<Shared>>,
    Query(params): Query<SummaryParams>,
) -> Answer<Response> {
    let window = length("window", params.window.as_deref())?.unwrap_or(WINDOW);
    if !params.follow {
        return Ok(Json(node.metrics_summary(window).await.map_err(|error| unread(&error))?).into_response());
    }
    Ok(each_second(node, move |node| async move { node.metrics_summary(window).await.ok() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesParams {
    caller: Option<String>,
    service: Option<String>,
    release: Option<String>,
    route: Option<String>,
    from: Option<u64>,
    until: Option<u64>,
    window: Option<String>,
    step: Option<String>,
    #[serde(default)]
    buckets: bool,
    #[serde(default)]
    follow: bool,
}

/// What calls added up to over time, with exemplars: by the second for ten minutes, by ten seconds for a day, by five
/// minutes for a month. Points without calls are left out.
#[utoipa::path(get, path = "/v1/metrics/series",
    params(
        ("caller" = Option<String>, Query, description = "Only calls of this service; `gateway` for requests from outside."),
        ("service" = Option<String>, Query, description = "Only calls to this service."),
        ("release" = Option<String>, Query, description = "Only calls that this release answered."),
        ("route" = Option<String>, Query, description = "Only requests over the route with this template."),
        ("from" = Option<u64>, Query, description = "From when on, in milliseconds since 1970; ten minutes before `until` if absent."),
        ("until" = Option<u64>, Query, description = "Until when; now if absent."),
        ("window" = Option<String>, Query, description = "How long before `until` it begins, as `15m`, instead of `from`."),
        ("step" = Option<String>, Query, description = "The length of each point, as `10s`; longer where such are not kept any more."),
        ("buckets" = Option<bool>, Query, description = "Tell how many calls took how long."),
        ("follow" = Option<bool>, Query, description = "Go on, with the points of the last seconds as one document a line each second.")),
    responses((status = 200, body = MetricsSeries), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn series(
    State(node): State<Arc<Shared>>,
    Query(params): Query<SeriesParams>,
) -> Answer<Response> {
    if let Some(name) = &params.service
        && !node.system.borrow().services.contains_key(name.as_str())
        && !node.metrics.knows(name)
    {
        return Err(unknown(&node, name));
    }
    let asked = query(&params, now())?;
    node.drain_records();
    let found = node.metrics.series(asked.clone()).await.map_err(|error| unread(&error))?;
    if !params.follow {
        return Ok(Json(found).into_response());
    }
    let step = found.step_ms;
    let live = follow(node, move |node| {
        let until = now();
        // The point before too, which calls may have come to since.
        let asked =
            SeriesQuery { from: until.saturating_sub(2 * step), until, step: step / 1000, ..asked.clone() };
        async move { node.metrics.series(asked).await.ok() }
    });
    Ok(lines(stream::iter([found]).chain(live)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceParams {
    instance: Option<String>,
    from: Option<u64>,
}

/// What was measured of instances every two seconds of the last ten minutes.
#[utoipa::path(get, path = "/v1/metrics/instances",
    params(
        ("instance" = Option<String>, Query, description = "Only this one."),
        ("from" = Option<u64>, Query, description = "From when on, in milliseconds since 1970.")),
    responses((status = 200, body = Vec<InstanceSeries>), (status = 400, body = Problem)))]
pub(super) async fn instances(
    State(node): State<Arc<Shared>>,
    Query(params): Query<InstanceParams>,
) -> Json<Vec<InstanceSeries>> {
    Json(node.gauges.series(params.instance.as_deref(), params.from.unwrap_or(0)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalParams {
    service: Option<String>,
    name: Option<String>,
    #[serde(default)]
    points: bool,
}

/// What services measure themselves and send: the latest values, and on request those of the last hour.
#[utoipa::path(get, path = "/v1/metrics/external",
    params(
        ("service" = Option<String>, Query, description = "Only those of this service."),
        ("name" = Option<String>, Query, description = "Only those of this name."),
        ("points" = Option<bool>, Query, description = "Tell the values over time.")),
    responses((status = 200, body = Vec<ExternalMetric>), (status = 400, body = Problem)))]
pub(super) async fn external(
    State(node): State<Arc<Shared>>,
    Query(params): Query<ExternalParams>,
) -> Json<Vec<ExternalMetric>> {
    Json(node.external.list(params.service.as_deref(), params.name.as_deref(), params.points))
}

/// What is asked for, within bounds.
fn query(params: &SeriesParams, now: u64) -> Answer<SeriesQuery> {
    let until = params.until.unwrap_or(now).min(now.saturating_add(1000));
    let window = length("window", params.window.as_deref())?;
    let from = match (params.from, window) {
        (Some(_), Some(_)) => return Err(Failure::parameter("window", "expected either from or window")),
        (Some(from), None) => from,
        (None, window) => until.saturating_sub(window.unwrap_or(SHOWN).as_millis() as u64),
    };
    let seconds = until.saturating_sub(from).div_ceil(1000);
    if from >= until || seconds > LONGEST.as_secs() + 60 {
        return Err(Failure::parameter("from", "expected a time before until, by at most 31 days"));
    }
    let step = match length("step", params.step.as_deref())? {
        Some(step) if step.subsec_millis() == 0 => step.as_secs(),
        Some(_) => return Err(Failure::parameter("step", "expected whole seconds, such as 1s")),
        None => STEPS.into_iter().find(|step| seconds / step <= ABOUT).unwrap_or(STEPS[STEPS.len() - 1]),
    };
    if seconds / step > MOST {
        let least = madang_model::format_duration(Duration::from_secs(seconds.div_ceil(MOST)));
        let expected =
            format!("expected at least {least} for so long a time: {MOST} points are told at most");
        return Err(Failure::parameter("step", &expected));
    }
    let SeriesParams { caller, service, release, route, buckets, .. } = params;
    let filter = MetricFilter {
        caller: caller.clone(),
        service: service.clone(),
        release: release.clone(),
        route: route.clone(),
    };
    Ok(SeriesQuery { filter, from, until, step, buckets: *buckets })
}

/// A length of time, of at least a second and at most what is kept.
fn length(name: &str, given: Option<&str>) -> Answer<Option<Duration>> {
    let Some(given) = given else { return Ok(None) };
    let bounds = Duration::from_secs(1)..=LONGEST;
    match parse_duration(given) {
        Ok(length) if bounds.contains(&length) => Ok(Some(length)),
        Ok(_) => Err(Failure::parameter(name, "expected from 1s to 31d")),
        Err(error) => Err(Failure::parameter(name, &error.to_string())),
    }
}

/// What there is each second, until the node stops.
fn follow<T, F>(
    node: Arc<Shared>,
    mut read: impl FnMut(Arc<Shared>) -> F + Send + 'static,
) -> impl futures_util::Stream<Item = T> + Send + 'static
where
    F: Future<Output = Option<T>> + Send + 'static,
    T: Send,
{
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = node.stopped.clone();
    let seconds = stream::unfold(ticks, |mut ticks| async {
        ticks.tick().await;
        Some(((), ticks))
    });
    seconds.take_until(stopped.cancelled_owned()).filter_map(move |()| read(node.clone()))
}

fn each_second<T, F>(node: Arc<Shared>, read: impl FnMut(Arc<Shared>) -> F + Send + 'static) -> Response
where
    F: Future<Output = Option<T>> + Send + 'static,
    T: Send + serde::Serialize + 'static,
{
    lines(follow(node, read))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn asked(given: &str) -> Result<(u64, u64, u64), String> {
        let params: SeriesParams = serde_json::from_str(given).unwrap();
        let named = |Failure(problem): Failure| problem.errors[0].field.clone();
        query(&params, NOW).map(|query| (NOW - query.from, NOW - query.until, query.step)).map_err(named)
    }

    #[test]
    fn a_series_shows_ten_minutes_and_about_as_many_points_as_can_be_seen() {
        assert_eq!(asked("{}"), Ok((600_000, 0, 5)));
        assert_eq!(asked(r#"{"window":"30d"}"#), Ok((2_592_000_000, 0, 10_800)));
        assert_eq!(
            asked(&format!(r#"{{"from":{},"until":{}}}"#, NOW - 9000, NOW - 1000)),
            Ok((9000, 1000, 1))
        );
    }

    #[test]
    fn what_cannot_be_told_is_refused_with_its_name() {
        assert_eq!(asked(r#"{"step":"1s","window":"1d"}"#), Err("step".into()));
        assert_eq!(asked(r#"{"step":"1500ms"}"#), Err("step".into()));
        assert_eq!(asked(r#"{"window":"32d"}"#), Err("window".into()));
        assert_eq!(asked(r#"{"window":"5"}"#), Err("window".into()));
        assert_eq!(asked(r#"{"window":"5s","from":1}"#), Err("window".into()));
        assert_eq!(asked(r#"{"from":2,"until":1}"#), Err("from".into()));
    }
}
