//! The charts of a page: requests, failures and latencies, of each release that is shown in a column of its own and on
//! one scale.

use madang_wire::metrics::{MetricPoint, MetricsSeries};
use maud::{Markup, html};

use crate::{
    chart::{Chart, Dot, Line, Mark},
    format,
};

/// How many calls stand for the rest in a chart at most.
const DOTS: usize = 60;

pub(super) struct Panels<'a> {
    /// What is shown, each with its name if there are several.
    pub(super) all: &'a [(Option<String>, MetricsSeries)],
    pub(super) marks: Vec<Mark>,
}

impl Panels<'_> {
    pub(super) fn draw(&self) -> Markup {
        let kinds: [fn(&Self, &MetricsSeries) -> Chart; 3] =
            [Self::requests, Self::failures, Self::latencies];
        html! {
            @if self.all.iter().all(|(_, series)| series.points.is_empty()) {
                p { "No call ended in this time." }
            }
            div.charts.{ @if self.all.len() > 1 { "beside" } } {
                @for kind in kinds {
                    @let mut charts: Vec<(Option<&str>, Chart)> = self.all.iter().map(|(name, series)| (name.as_deref(), kind(self, series))).collect();
                    @let top = charts.iter().map(|(_, chart)| chart.highest()).fold(0.0, f64::max);
                    @for (name, chart) in &mut charts {
                        (drawn(chart, *name, top))
                    }
                }
            }
        }
    }

    fn requests(&self, series: &MetricsSeries) -> Chart {
        let rate = |point: Option<&MetricPoint>| Some(point.map_or(0.0, |point| point.flow.rate));
        let lines = vec![Line { name: "requests", class: "first", points: over(series, rate) }];
        self.chart("Requests a second", series, format::rate, lines)
    }

    fn failures(&self, series: &MetricsSeries) -> Chart {
        let share = |point: Option<&MetricPoint>| point.map(|point| point.flow.error_ratio * 100.0);
        let lines = vec![Line { name: "failed", class: "bad", points: over(series, share) }];
        let mut chart = self.chart("Failed, in percent", series, |value| format::share(value / 100.0), lines);
        chart.top = 1.0;
        chart
    }

    fn latencies(&self, series: &MetricsSeries) -> Chart {
        let micros = |value: Option<u64>| value.map(|value| value as f64);
        let lines = vec![
            Line { name: "p50", class: "first", points: over(series, |point| micros(point?.flow.p50_us)) },
            Line { name: "p95", class: "second", points: over(series, |point| micros(point?.flow.p95_us)) },
            Line { name: "p99", class: "third", points: over(series, |point| micros(point?.flow.p99_us)) },
        ];
        let mut chart = self.chart("Latency", series, |value| format::took(value as u64), lines);
        chart.dots = dots(series);
        chart
    }

    fn chart(&self, title: &str, series: &MetricsSeries, unit: fn(f64) -> String, lines: Vec<Line>) -> Chart {
        let within = self.marks.iter().filter(|mark| (series.from..=series.until).contains(&mark.at));
        Chart {
            title: title.to_owned(),
            from: series.from,
            until: series.until,
            top: 0.0,
            unit,
            lines,
            dots: Vec::new(),
            marks: within.map(|mark| Mark { at: mark.at, said: mark.said.clone() }).collect(),
        }
    }
}

fn drawn(chart: &mut Chart, name: Option<&str>, top: f64) -> Markup {
    chart.top = chart.top.max(top);
    if let Some(name) = name {
        chart.title = format!("{}, {name}", chart.title);
    }
    chart.draw()
}

/// A value at each step, also at those without calls, which the series leaves out.
fn over(
    series: &MetricsSeries,
    value: impl Fn(Option<&MetricPoint>) -> Option<f64>,
) -> Vec<(u64, Option<f64>)> {
    let step = series.step_ms.max(1);
    let mut points = series.points.iter().peekable();
    let first = series.points.first().map_or(series.from, |point| point.at);
    // The steps lie where the points do.
    let begin = series.from + (first.saturating_sub(series.from)) % step;
    // The last one is not over.
    let ats = (begin..series.until.saturating_sub(step)).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    ats.map(|at| {
        while points.next_if(|point| point.at < at).is_some() {}
        (at, value(points.next_if(|point| point.at == at)))
    })
    .collect()
}

/// The slowest of those that stand for a time, and all that failed first.
fn dots(series: &MetricsSeries) -> Vec<Dot> {
    let mut all: Vec<_> = series.points.iter().flat_map(|point| &point.exemplars).collect();
    all.sort_by_key(|exemplar| (!exemplar.failed, std::cmp::Reverse(exemplar.value_us)));
    all.truncate(DOTS);
    all.sort_by_key(|exemplar| exemplar.at);
    let dot = |exemplar: &madang_wire::metrics::Exemplar| Dot {
        at: exemplar.at,
        value: exemplar.value_us as f64,
        href: format!("/traces/{}", exemplar.trace_id),
        failed: exemplar.failed,
        said: format!(
            "Trace of a call that took {}{}",
            format::took(exemplar.value_us),
            if exemplar.failed { " and failed" } else { "" }
        ),
    };
    all.into_iter().map(dot).collect()
}

#[cfg(test)]
mod tests {
    use madang_wire::metrics::Flow;

    use super::*;

    #[test]
    fn steps_without_calls_are_there_too() {
        let point = |at| MetricPoint {
            at,
            flow: Flow { rate: 2.0, ..Flow::default() },
            buckets: vec![],
            exemplars: vec![],
        };
        let series = MetricsSeries {
            from: 1_500,
            until: 6_500,
            step_ms: 1000,
            points: vec![point(2_000), point(4_000)],
            dropped: Default::default(),
        };
        let rates = over(&series, |point| point.map(|point| point.flow.rate));
        assert_eq!(rates, [(2_000, Some(2.0)), (3_000, None), (4_000, Some(2.0)), (5_000, None)]);
    }
}
