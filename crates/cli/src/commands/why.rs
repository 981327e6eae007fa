//! `madang why`: who is to blame for how a request went, and what says so.

use jiff::tz::TimeZone;
use madang_wire::why::{Certainty, Outcome, ReleaseView, Step, WhyView};

use crate::{
    client::{Client, segment},
    failure::Failure,
    output::Output,
    style::{Paint, Style},
    table::{Cell, Table},
    units,
};

/// Explains one request.
pub async fn run(client: &Client, output: &Output, id: &str) -> Result<(), Failure> {
    let view: WhyView = client.get(&format!("/v1/why/{}", segment(id))).await?;
    if output.is_json() {
        return output.json(&view);
    }
    output.text(&explain(&view, output.style(), &TimeZone::system()))
}

fn explain(view: &WhyView, style: Style, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut line = |words: &str| text.push_str(&format!("{words}\n"));
    let at = units::time_of_day(view.start_us / 1000, zone);
    line(&format!("{} at {at}: {} after {}", view.name, became(view), units::precise(view.duration_us)));
    let paint = match (view.outcome, view.certainty) {
        (Outcome::Well, _) => Paint::Good,
        (_, Certainty::None) => Paint::Busy,
        _ => Paint::Bad,
    };
    line(&format!("why: {}", style.paint(paint, &view.summary)));
    let sure = match view.certainty {
        Certainty::Certain => "nothing else explains what was seen",
        Certainty::Likely => "the evidence speaks for it",
        Certainty::None => "there is not enough evidence to blame anybody",
    };
    line(&style.paint(Paint::Faint, &format!("     {sure}")));
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            text.push_str(&format!("\n{}\n{body}", style.paint(Paint::Strong, title)));
        }
    };
    section("WAY", table(way(&view.path), style));
    section("EVIDENCE", table(evidence(view, zone), style));
    section("TIME", table(shares(view), style));
    section("CHANGES", table(changes(view, zone), style));
    section("RELEASES", table(releases(&view.releases), style));
    section("LOG", log(view, zone));
    section("NOT SEEN", view.unseen.iter().map(|unseen| format!("{unseen}\n")).collect());
    section("NEXT", table(next(view), style));
    text
}

/// What became of the request, in words.
fn became(view: &WhyView) -> String {
    let answer = match (&view.code, view.status) {
        (Some(code), status) => format!("{status} ({code})"),
        (None, 0) => "no answer".to_owned(),
        (None, status) => status.to_string(),
    };
    let word = match view.outcome {
        Outcome::Well => "went well",
        Outcome::Slow => "was slow",
        Outcome::Refused => "was refused",
        Outcome::Failed => "failed",
        Outcome::Abandoned => "was given up by its client",
    };
    format!("{word}, {answer}")
}

/// A table without a line when there is nothing in it.
fn table(table: Option<Table>, style: Style) -> String {
    table.map(|table| table.render(style)).unwrap_or_default()
}

/// A table of these columns, if there is any row.
fn rows<const N: usize>(
    columns: &'static [&'static str; N],
    rows: impl IntoIterator<Item = [Cell; N]>,
) -> Option<Table> {
    let mut rows = rows.into_iter().peekable();
    rows.peek()?;
    let mut table = Table::new(columns);
    rows.for_each(|row| table.row(row));
    Some(table)
}

fn way(path: &[Step]) -> Option<Table> {
    let row = |(depth, step): (usize, &Step)| {
        let answer = match (&step.code, step.status) {
            (Some(code), status) => format!("{status} {code}"),
            (None, 0) => "none".to_owned(),
            (None, status) => status.to_string(),
        };
        let attempts = if step.attempts > 1 { format!("{} attempts", step.attempts) } else { String::new() };
        [
            Cell::new(format!("{}{}", "  ".repeat(depth), step.caller)),
            Cell::maybe(step.callee.as_deref()),
            Cell::new(&step.name),
            Cell::new(answer),
            Cell::new(units::precise(step.duration_us)),
            Cell::new(attempts),
        ]
    };
    rows(&["FROM", "TO", "CALL", "ANSWER", "DURATION", ""], path.iter().enumerate().map(row))
}

fn evidence(view: &WhyView, zone: &TimeZone) -> Option<Table> {
    let row = |evidence: &madang_wire::why::Evidence| {
        let at = units::time_of_day(evidence.at_us / 1000, zone);
        [Cell::new(at).paint(Paint::Faint), Cell::new(&evidence.text)]
    };
    rows(&["AT", "WHAT"], view.evidence.iter().map(row))
}

/// Where the time went; of no interest if all of it went to one place.
fn shares(view: &WhyView) -> Option<Table> {
    let whole = view.duration_us.max(1);
    let row = |share: &madang_wire::why::Share| {
        let parked = if share.parked_us > 0 {
            format!("{} waiting", units::precise(share.parked_us))
        } else {
            String::new()
        };
        [
            Cell::new(&share.service),
            Cell::new(units::precise(share.self_us)),
            Cell::new(format!("{} %", share.self_us * 100 / whole)),
            Cell::new(parked),
        ]
    };
    let several = view.shares.len() > 1;
    rows(&["SERVICE", "ITSELF", "SHARE", ""], view.shares.iter().filter(|_| several).map(row))
}

fn changes(view: &WhyView, zone: &TimeZone) -> Option<Table> {
    let row = |event: &madang_wire::admin::Event| {
        let who = event.instance.as_deref().unwrap_or(&event.unit);
        let first = event.headline();
        [
            Cell::new(units::time_of_day(event.at, zone)).paint(Paint::Faint),
            Cell::new(who),
            Cell::new(crate::progress::word(event.kind).0),
            Cell::new(first),
        ]
    };
    rows(&["AT", "WHO", "WHAT", ""], view.changes.iter().map(row))
}

fn releases(releases: &[ReleaseView]) -> Option<Table> {
    let row = |view: &ReleaseView| {
        let share = if view.requests > 0 { view.errors as f64 * 100.0 / view.requests as f64 } else { 0.0 };
        let errors = Cell::new(format!("{share:.1} %"));
        [
            Cell::new(&view.release),
            Cell::new(view.requests.to_string()),
            if view.errors > 0 { errors.paint(Paint::Bad) } else { errors.paint(Paint::Good) },
            Cell::new(units::precise(view.p50_us)),
            Cell::new(units::precise(view.p99_us)),
        ]
    };
    rows(&["RELEASE", "REQUESTS", "FAILED", "P50", "P99"], releases.iter().map(row))
}

fn log(view: &WhyView, zone: &TimeZone) -> String {
    let line = |line: &madang_wire::log::LogLine| {
        format!("{} {} {}\n", units::time_of_day(line.at, zone), line.instance, line.in_words())
    };
    view.logs.iter().map(line).collect()
}

fn next(view: &WhyView) -> Option<Table> {
    let row = |next: &madang_wire::why::Suggestion| {
        [Cell::new(&next.command).paint(Paint::Strong), Cell::new(&next.why).paint(Paint::Faint)]
    };
    rows(&["COMMAND", "FOR"], view.next.iter().map(row))
}
