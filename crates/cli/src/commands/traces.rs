//! `madang traces` and `madang trace`: which requests there were, and the way of one of them.

mod waterfall;

use jiff::tz::TimeZone;
use madang_wire::trace::{NotKept, TraceList, TraceSummary, TraceView};

use crate::{
    args::Traces,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
    units,
};

/// Lists the newest traces.
pub async fn list(client: &Client, output: &Output, traces: &Traces) -> Result<(), Failure> {
    let found: TraceList = client.get(&query(traces)).await?;
    if output.is_json() {
        return output.json(&found);
    }
    if found.traces.is_empty() {
        output.line("no such trace is kept")?;
    } else {
        output.table(&table(&found.traces, &TimeZone::system()))?;
    }
    match missing(&found.not_kept) {
        Some(missing) => output.line(&output.style().paint(Paint::Faint, &missing)),
        None => Ok(()),
    }
}

/// Shows one trace as a waterfall.
pub async fn show(client: &Client, output: &Output, id: &str) -> Result<(), Failure> {
    let view: TraceView = client.get(&format!("/v1/traces/{}", segment(id))).await?;
    if output.is_json() {
        return output.json(&view);
    }
    output.text(&waterfall::draw(&view, output.style()))
}

fn query(traces: &Traces) -> String {
    let mut query = format!("/v1/traces?limit={}&error={}", traces.limit, traces.error);
    if let Some(slow) = traces.slow {
        query.push_str(&format!("&slow_us={}", slow.as_micros()));
    }
    if let Some(service) = &traces.service {
        query.push_str(&format!("&service={service}"));
    }
    if let Some(caller) = &traces.caller {
        query.push_str(&format!("&caller={caller}"));
    }
    if let Some(route) = &traces.route {
        query.push_str(&format!("&route={}", segment(route)));
    }
    query
}

fn table(traces: &[TraceSummary], zone: &TimeZone) -> Table {
    let mut table = Table::new(&["TIME", "TRACE", "NAME", "SERVICE", "SPANS", "ERRORS", "DURATION"]);
    for trace in traces {
        let errors = Cell::new(trace.errors.to_string());
        table.row([
            Cell::new(units::time_of_day(trace.start_us / 1000, zone)).paint(Paint::Faint),
            Cell::new(trace.trace_id.to_string()),
            Cell::new(&trace.name),
            Cell::new(&trace.service),
            Cell::new(trace.spans.to_string()),
            if trace.errors > 0 { errors.paint(Paint::Bad) } else { errors.paint(Paint::Faint) },
            Cell::new(units::precise(trace.duration_us)),
        ]);
    }
    table
}

/// What is missing, in words.
fn missing(not_kept: &NotKept) -> Option<String> {
    let NotKept { sampled, overflow, unwritten, unrecorded } = *not_kept;
    let counts = [
        (sampled, "outside of the sample"),
        (overflow, "failed or slow beyond what could be held"),
        (unwritten, "that could not be written"),
        (unrecorded, "of requests without a record"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
    let counts: Vec<String> = counts.collect();
    (!counts.is_empty()).then(|| format!("spans not kept since the start: {}", counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;
    use madang_wire::TraceId;

    use super::*;
    use crate::style::Style;

    #[test]
    fn the_question_says_what_was_asked_for() {
        let all = Traces { error: false, slow: None, service: None, caller: None, route: None, limit: 50 };
        assert_eq!(query(&all), "/v1/traces?limit=50&error=false");
        let some = Traces {
            error: true,
            slow: Some(Duration::from_millis(200)),
            service: Some("users".parse().unwrap()),
            caller: Some("orders".parse().unwrap()),
            route: Some("/users/**".to_owned()),
            limit: 5,
        };
        assert_eq!(
            query(&some),
            "/v1/traces?limit=5&error=true&slow_us=200000&service=users&caller=orders&route=%2Fusers%2F%2A%2A"
        );
    }

    #[test]
    fn a_trace_has_a_line() {
        let trace = TraceSummary {
            trace_id: TraceId(0x0af7651916cd43dd8448eb211c80319c),
            start_us: 1_767_225_603_004_000,
            duration_us: 12_345,
            name: "POST /orders/**".to_owned(),
            service: "gateway".to_owned(),
            spans: 3,
            errors: 1,
        };
        expect![[r#"
            TIME          TRACE                             NAME             SERVICE  SPANS  ERRORS  DURATION
            00:00:03.004  0af7651916cd43dd8448eb211c80319c  POST /orders/**  gateway  3      1       12.3 ms
        "#]]
        .assert_eq(&table(&[trace], &TimeZone::UTC).render(Style::PLAIN));
        assert_eq!(missing(&NotKept::default()), None);
        assert_eq!(
            missing(&NotKept { sampled: 7, unwritten: 2, ..NotKept::default() }).as_deref(),
            Some("spans not kept since the start: 7 outside of the sample, 2 that could not be written")
        );
    }
}
