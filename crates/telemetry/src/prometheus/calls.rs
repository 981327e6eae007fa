//! What calls add up to: requests from outside by route, calls by caller and callee, and by release.

use std::collections::BTreeMap;

use madang_wire::metrics::GATEWAY;

use super::writer::{Exemplar, Family, Histogram, Kind, Labels, Writer};
use crate::{BOUNDS_US, Durations, Example, SeriesTotals, Totals};

/// Totals of several series, added up by what a family tells them apart by.
type Sums<'a, const N: usize> = BTreeMap<[&'a str; N], Totals>;

pub(super) fn write(writer: &mut Writer, all: &[SeriesTotals]) {
    let text = |part: &Option<std::sync::Arc<str>>| part.as_deref().map(str::to_owned);
    let parts: Vec<_> = all
        .iter()
        .map(|one| {
            let part = |part| text(part).unwrap_or_default();
            (one.caller.to_string(), part(&one.service), part(&one.release), part(&one.route), &one.totals)
        })
        .collect();
    let (mut routes, mut edges, mut releases) = (Sums::new(), Sums::new(), Sums::new());
    for (caller, service, release, route, totals) in &parts {
        if caller == GATEWAY {
            add(&mut routes, [service, route], totals);
        }
        if !service.is_empty() {
            add(&mut edges, [caller, service], totals);
            add(&mut releases, [service, release], totals);
        }
    }
    requests(writer, &routes);
    calls(writer, &edges);
    of_releases(writer, &releases);
}

fn requests(writer: &mut Writer, routes: &Sums<'_, 2>) {
    const NAMES: [&str; 2] = ["service", "route"];
    let help = "Requests from outside that the gateway answered; none if it answered itself.";
    counted(&mut writer.family("madang_requests", Kind::Counter, help), NAMES, routes);
    let help = "Time from a request's arrival to the end of its answer's head.";
    let mut family = writer.family("madang_request_duration_seconds", Kind::Histogram, help);
    durations(&mut family, NAMES, routes, |totals| (&totals.durations, &totals.examples));
    let help = "The part of it that the service took; the rest is the gateway's and waiting.";
    let mut family = writer.family("madang_request_upstream_seconds", Kind::Histogram, help);
    durations(&mut family, NAMES, routes, |totals| (&totals.upstream, &[]));
    let help = "The part of it spent waiting for an instance, or for other calls to end.";
    let mut family = writer.family("madang_request_parked_seconds", Kind::Counter, help);
    for (values, totals) in routes {
        family.add(&labels(NAMES, values), totals.parked_us as f64 / 1e6);
    }
}

fn calls(writer: &mut Writer, edges: &Sums<'_, 2>) {
    const NAMES: [&str; 2] = ["caller", "callee"];
    let help = "Calls of one service to another, and of the gateway and of listeners.";
    counted(&mut writer.family("madang_calls", Kind::Counter, help), NAMES, edges);
    let help = "Time from the beginning of a call to the end of its answer's head, with all its attempts.";
    let mut family = writer.family("madang_call_duration_seconds", Kind::Histogram, help);
    durations(&mut family, NAMES, edges, |totals| (&totals.durations, &totals.examples));
    let mut family =
        writer.family("madang_call_retries", Kind::Counter, "Attempts beyond the first of each call.");
    for (values, totals) in edges {
        family.add(&labels(NAMES, values), totals.retries as f64);
    }
}

fn of_releases(writer: &mut Writer, releases: &Sums<'_, 2>) {
    const NAMES: [&str; 2] = ["service", "release"];
    let help = "Calls that instances of a release answered, or were the last to be tried for.";
    counted(&mut writer.family("madang_release_calls", Kind::Counter, help), NAMES, releases);
    let help = "Time of the calls that instances of a release answered.";
    let mut family = writer.family("madang_release_call_duration_seconds", Kind::Histogram, help);
    durations(&mut family, NAMES, releases, |totals| (&totals.durations, &totals.examples));
}

fn add<'a, const N: usize>(sums: &mut Sums<'a, N>, values: [&'a str; N], totals: &Totals) {
    sums.entry(values).or_default().add(totals);
}

fn labels<'a, const N: usize>(
    names: [&'static str; N],
    values: &[&'a str; N],
) -> Vec<(&'static str, &'a str)> {
    names.into_iter().zip(values.iter().copied()).collect()
}

/// By the first digit of the status, and whether they failed.
fn counted<const N: usize>(family: &mut Family<'_>, names: [&'static str; N], sums: &Sums<'_, N>) {
    for (values, totals) in sums {
        for (class, counts) in totals.classes.iter().enumerate() {
            for (failed, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let code = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
                let failed = if failed == 1 { "true" } else { "false" };
                let mut labels = labels(names, values);
                labels.extend([("code_class", &*code), ("failed", failed)]);
                family.add(&labels, count as f64);
            }
        }
    }
}

fn durations<const N: usize>(
    family: &mut Family<'_>,
    names: [&'static str; N],
    sums: &Sums<'_, N>,
    of: impl Fn(&Totals) -> (&Durations, &[Option<Example>]),
) {
    for (values, totals) in sums {
        let (durations, examples) = of(totals);
        let exemplar = |example: &Option<Example>| {
            let Example { trace_id, value_us, at, .. } = (*example)?;
            Some(Exemplar { trace: trace_id, value: value_us as f64 / 1e6, at })
        };
        let exemplars: Vec<_> = examples.iter().map(exemplar).collect();
        let labels: &Labels<'_> = &labels(names, values);
        let bounds = BOUNDS_US.map(|bound| bound as f64 / 1e6);
        let (counts, sum) = (&durations.buckets[..], durations.sum_us as f64 / 1e6);
        family.histogram(labels, &Histogram { bounds: &bounds, counts, sum, exemplars: &exemplars });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::text::Exposition;

    fn series(caller: &str, release: &str, ok: u64, failed: u64) -> SeriesTotals {
        let mut totals = Totals::default();
        totals.classes[2][0] = ok;
        totals.classes[5][1] = failed;
        totals.durations.buckets[3] = ok + failed;
        let some = |text: &str| Some(text.into()).filter(|_| !text.is_empty());
        let route = some(if caller == GATEWAY { "/users/**" } else { "" });
        SeriesTotals { caller: caller.into(), service: some("users"), release: some(release), route, totals }
    }

    #[test]
    fn each_family_adds_up_what_it_does_not_tell_apart() {
        let all = [series(GATEWAY, "r1", 5, 1), series(GATEWAY, "r2", 7, 0), series("orders", "r2", 2, 0)];
        let mut writer = Writer::text(Exposition::Text);
        write(&mut writer, &all);
        let written = writer.into_text();
        for line in [
            r#"madang_requests_total{service="users",route="/users/**",code_class="2xx",failed="false"} 12"#,
            r#"madang_requests_total{service="users",route="/users/**",code_class="5xx",failed="true"} 1"#,
            r#"madang_request_duration_seconds_count{service="users",route="/users/**"} 13"#,
            r#"madang_calls_total{caller="orders",callee="users",code_class="2xx",failed="false"} 2"#,
            r#"madang_release_calls_total{service="users",release="r2",code_class="2xx",failed="false"} 9"#,
            r#"madang_call_duration_seconds_bucket{caller="gateway",callee="users",le="0.0025"} 0"#,
            r#"madang_call_duration_seconds_bucket{caller="gateway",callee="users",le="0.005"} 13"#,
        ] {
            assert!(written.lines().any(|found| found == line), "{line} in {written}");
        }
    }

    /// What the gateway takes and waits for itself is the rest.
    #[test]
    fn the_time_of_the_service_is_a_family_of_its_own() {
        let mut one = series(GATEWAY, "r1", 1, 0);
        (one.totals.durations.sum_us, one.totals.upstream.sum_us, one.totals.parked_us) = (9000, 5000, 3000);
        let mut writer = Writer::text(Exposition::Text);
        write(&mut writer, &[one]);
        let written = writer.into_text();
        for line in [
            r#"madang_request_duration_seconds_sum{service="users",route="/users/**"} 0.009"#,
            r#"madang_request_upstream_seconds_sum{service="users",route="/users/**"} 0.005"#,
            r#"madang_request_parked_seconds_total{service="users",route="/users/**"} 0.003"#,
        ] {
            assert!(written.lines().any(|found| found == line), "{line} in {written}");
        }
    }
}
