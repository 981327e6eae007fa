//! `madang top`: what the services do now, again each second.

use std::io::{self, IsTerminal};

use madang_wire::{
    admin::BreakerState,
    metrics::{Flow, MetricsDropped, MetricsSummary, ServiceFlow},
    telemetry::{Missing, MissingKind},
};

use crate::{
    args::Top,
    client::Client,
    commands::missing::in_words,
    failure::Failure,
    output::Output,
    style::{self, Paint, Style},
    table::{Cell, Table},
    units,
};

/// Shows it once, or again and again: in place on a terminal, as a document a line for a script.
pub async fn run(client: &Client, output: &Output, top: &Top) -> Result<(), Failure> {
    let query = |follow: bool| {
        let window = madang_model::format_duration(top.window);
        format!("/v1/metrics/summary?window={window}&follow={follow}")
    };
    let live =
        io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    if top.once || !(live || output.is_json()) {
        let summary: MetricsSummary = client.get(&query(false)).await?;
        return match output.is_json() {
            true => output.json(&summary),
            false => output.text(&shown(&summary, usize::MAX, output.style())),
        };
    }
    let mut seconds = client.lines::<MetricsSummary>(&query(true)).await?;
    let mut drawn = 0;
    while let Some(summary) = seconds.next().await? {
        if output.is_json() {
            output.json_line(&summary)?;
            continue;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        // Some terminals say nothing of their size.
        let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
        let (lines, columns) = size.map_or((24, 80), |size| (size.ws_row.into(), size.ws_col.into()));
        let text = shown(&summary, usize::saturating_sub(lines, 1), output.style());
        let text = style::clip(&text, columns);
        let back = if drawn > 0 { format!("\x1b[{drawn}A\x1b[J") } else { String::new() };
        drawn = text.lines().count();
        output.text(&(back + &text))?;
    }
    Ok(())
}

/// As many lines at most.
fn shown(summary: &MetricsSummary, most: usize, style: Style) -> String {
    let mut table = Table::new(&[
        "SERVICE",
        "RATE",
        "ERRORS",
        "P50",
        "P99",
        "IN FLIGHT",
        "PARKED",
        "READY",
        "CPU",
        "MEMORY",
        "RESTARTS",
        "BREAKER",
    ]);
    let missing: Vec<String> = missing(&summary.dropped).into_iter().chain(not_kept(summary)).collect();
    // The line above, the header, and those for what is missing.
    let room = most.saturating_sub(2 + missing.len()).max(1);
    let hidden = summary.services.len().saturating_sub(room);
    let room = if hidden > 0 { room.saturating_sub(1) } else { room };
    summary.services.iter().take(room).for_each(|service| table.row(row(service)));
    let mut text = heading(summary, style) + &table.render(style);
    if hidden > 0 {
        text.push_str(&format!("… and {} more\n", summary.services.len() - room));
    }
    for missing in missing {
        text.push_str(&style.paint(Paint::Busy, &missing));
        text.push('\n');
    }
    text
}

fn heading(summary: &MetricsSummary, style: Style) -> String {
    let Flow { rate, error_ratio, p50_us, p99_us, requests, .. } = summary.total;
    let mut text = format!("last {}: {} from outside", units::elapsed(summary.window_ms), units::rate(rate));
    if requests > 0 {
        let (p50, p99) = (units::precise(p50_us.unwrap_or(0)), units::precise(p99_us.unwrap_or(0)));
        text.push_str(&format!(", {} failed, p50 {p50}, p99 {p99}", units::percent(error_ratio)));
    }
    format!("{}\n", style.paint(Paint::Faint, &text))
}

fn row(service: &ServiceFlow) -> [Cell; 12] {
    let ServiceFlow { flow, .. } = service;
    let called = flow.requests > 0;
    let time = |micros: Option<u64>| Cell::maybe(micros.map(units::precise));
    let some = |count: u32| match count {
        0 => Cell::new("0").paint(Paint::Faint),
        count => Cell::new(count.to_string()),
    };
    let errors = Cell::maybe(called.then(|| units::percent(flow.error_ratio)));
    let all = service.ready >= service.instances && service.ready > 0;
    [
        Cell::new(&service.service),
        if called { Cell::new(units::rate(flow.rate)) } else { Cell::maybe(None::<u8>) },
        if flow.errors > 0 { errors.paint(Paint::Bad) } else { errors },
        time(flow.p50_us),
        time(flow.p99_us),
        some(service.in_flight),
        if service.parked > 0 { some(service.parked).paint(Paint::Busy) } else { some(0) },
        Cell::new(format!("{}/{}", service.ready, service.instances)).paint(if all {
            Paint::Good
        } else {
            Paint::Bad
        }),
        Cell::maybe(service.cpu.map(|cores| format!("{:.0} %", cores * 100.0))),
        Cell::maybe(service.memory.map(units::bytes)),
        match service.restarts {
            0 => Cell::new("0").paint(Paint::Faint),
            restarts => Cell::new(restarts.to_string()).paint(Paint::Busy),
        },
        match service.breaker {
            None => Cell::maybe(None::<u8>),
            Some(BreakerState::Closed) => Cell::new("closed").paint(Paint::Faint),
            Some(BreakerState::HalfOpen) => Cell::new("half open").paint(Paint::Busy),
            Some(BreakerState::Open) => Cell::new("open").paint(Paint::Bad),
        },
    ]
}

/// What is missing elsewhere, in words; that spans are a sample is no news.
fn not_kept(summary: &MetricsSummary) -> Option<String> {
    let elsewhere = |missing: &&Missing| missing.kind != MissingKind::Requests && missing.reason != "sampled";
    in_words(summary.missing.iter().filter(elsewhere))
}

/// What is in none of the numbers above, in words.
fn missing(dropped: &MetricsDropped) -> Option<String> {
    let MetricsDropped { records, other, .. } = *dropped;
    let counts = [(records, "requests without a record"), (other, "requests counted under \"other\"")];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let counts: Vec<String> = counts.collect();
    (!counts.is_empty()).then(|| format!("not told apart since the start: {}", counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    pub(crate) fn summary() -> MetricsSummary {
        let flow = |requests: u64, errors: u64| Flow {
            requests,
            errors,
            rate: requests as f64 / 10.0,
            error_ratio: errors as f64 / requests.max(1) as f64,
            p50_us: (requests > 0).then_some(1_234),
            p99_us: (requests > 0).then_some(45_600),
            ..Flow::default()
        };
        let service = |name: &str, flow: Flow| ServiceFlow {
            service: name.into(),
            flow,
            ready: 2,
            instances: 2,
            cpu: Some(0.125),
            memory: Some(13_003_000),
            breaker: Some(BreakerState::Closed),
            ..ServiceFlow::default()
        };
        MetricsSummary {
            at: 0,
            window_ms: 10_000,
            total: flow(1234, 12),
            services: vec![
                ServiceFlow { in_flight: 3, ..service("orders", flow(1234, 12)) },
                ServiceFlow {
                    breaker: Some(BreakerState::Open),
                    restarts: 2,
                    parked: 4,
                    ready: 0,
                    ..service("payments", flow(4, 4))
                },
                ServiceFlow { cpu: None, memory: None, breaker: None, ..service("users", Flow::default()) },
            ],
            routes: vec![],
            edges: vec![],
            releases: vec![],
            instances: vec![],
            dropped: MetricsDropped { records: 7, ..MetricsDropped::default() },
            missing: [(MissingKind::Spans, "sampled", 99), (MissingKind::Lines, "budget", 9)]
                .map(|(kind, reason, count)| Missing {
                    kind,
                    reason: reason.into(),
                    unit: (kind == MissingKind::Lines).then(|| "orders".into()),
                    count,
                    why: "too many".into(),
                })
                .to_vec(),
        }
    }

    #[test]
    fn each_service_has_a_line() {
        expect![[r#"
            last 10 s: 123/s from outside, 1.0 % failed, p50 1.23 ms, p99 45.6 ms
            SERVICE   RATE    ERRORS  P50      P99      IN FLIGHT  PARKED  READY  CPU   MEMORY    RESTARTS  BREAKER
            orders    123/s   1.0 %   1.23 ms  45.6 ms  3          0       2/2    12 %  12.4 MiB  0         closed
            payments  0.40/s  100 %   1.23 ms  45.6 ms  0          4       0/2    12 %  12.4 MiB  2         open
            users     -       -       -        -        0          0       2/2    -     -         0         -
            not told apart since the start: 7 requests without a record
            not kept since the start: 9 lines of orders (too many)
        "#]].assert_eq(&shown(&summary(), usize::MAX, Style::PLAIN));
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        let shown = style::clip(&shown(&summary(), usize::MAX, Style::PLAIN), 40);
        expect![[r#"
            last 10 s: 123/s from outside, 1.0 % fa…
            SERVICE   RATE    ERRORS  P50      P99 …
            orders    123/s   1.0 %   1.23 ms  45.6…
            payments  0.40/s  100 %   1.23 ms  45.6…
            users     -       -       -        -   …
            not told apart since the start: 7 reque…
            not kept since the start: 9 lines of or…
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn what_does_not_fit_on_the_screen_is_counted() {
        let shown = shown(&summary(), 6, Style::PLAIN);
        assert_eq!(shown.lines().count(), 6, "{shown}");
        assert!(shown.contains("\norders ") && shown.contains("… and 2 more\n"), "{shown}");
    }
}
