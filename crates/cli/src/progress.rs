//! What building, starting and stopping looks like, as a function of the events alone.

use std::collections::BTreeMap;

use madang_wire::admin::{Event, EventKind};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{
    style::{Paint, Style},
    units::elapsed,
};

/// While a unit stays blocked, a line says so at most this often, in milliseconds.
const REPEAT: u64 = 10_000;

/// What each unit does, as far as the events told.
pub struct Progress {
    units: BTreeMap<String, Unit>,
    width: usize,
    began: u64,
}

struct Unit {
    /// The last event; `None` before the first.
    last: Option<Event>,
    /// Since when it does what it does.
    since: u64,
    /// When a line last said that it is blocked, and on what.
    told: Option<(u64, String)>,
}

// === impl Progress ===

impl Progress {
    /// Of these units, from a moment on.
    pub fn new<'a>(units: impl IntoIterator<Item = &'a str>, began: u64) -> Self {
        let unit = |name: &str| (name.to_owned(), Unit { last: None, since: began, told: None });
        let units: BTreeMap<_, _> = units.into_iter().map(unit).collect();
        let width = units.keys().map(|name| name.width()).max().unwrap_or_default();
        Self { units, width, began }
    }

    /// Takes an event in, and gives the lines that tell of it, where each is written once and stays.
    pub fn lines(&mut self, event: &Event, style: Style) -> Vec<String> {
        let took = self.take(event);
        let mut message = event.message.lines();
        let first = message.next().unwrap_or_default();
        let (word, paint) = word(event.kind);
        let blocked = event.kind == EventKind::Blocked && !self.worth_telling(event);
        // Whoever starts a system hears of its instances.
        if blocked || event.kind == EventKind::Released {
            return Vec::new();
        }
        let mut head = format!("{}  {}", pad(&event.unit, self.width), style.paint(paint, word));
        match (event.kind, took) {
            // What took its time says how long; what follows from the message need not be said twice.
            (EventKind::Built | EventKind::Ready, Some(took)) => {
                head.push_str(&format!(" after {}", elapsed(took)));
            }
            _ => match first.strip_prefix(word) {
                Some(rest) => head.push_str(rest), // `gave up after 5 starts`
                None if first.is_empty() => {}
                None => head.push_str(&format!(": {first}")),
            },
        }
        let rest = message.map(|line| format!("    {}", style.paint(Paint::Faint, line)));
        std::iter::once(head).chain(rest).collect()
    }

    /// The state of all units, a line each, for a terminal of so many columns on which it is rewritten.
    pub fn block(&self, now: u64, columns: usize, style: Style) -> Vec<String> {
        self.units
            .iter()
            .map(|(name, unit)| {
                let (kind, message) = match &unit.last {
                    Some(event) => (word(event.kind), event.headline()),
                    None => (("waiting", Paint::Faint), ""),
                };
                let settled = matches!(unit.last.as_ref().map(|event| event.kind), Some(EventKind::Ready));
                let (from, until) = if settled { (self.began, unit.since) } else { (unit.since, now) };
                let time = elapsed(until.saturating_sub(from));
                let message = if settled { "" } else { message };
                let head = format!("  {}  {:<12}", pad(name, self.width), kind.0);
                let line = fit(&format!("{head}{time:>9}  {message}"), columns.saturating_sub(1));
                match line.strip_prefix(&head) {
                    Some(tail) => {
                        let word = style.paint(kind.1, kind.0);
                        let gap = " ".repeat(12 - kind.0.len());
                        format!("  {}  {word}{gap}{}", pad(name, self.width), style.paint(Paint::Faint, tail))
                    }
                    None => line,
                }
            })
            .collect()
    }

    /// Takes an event in; gives how long the unit did what ended with it, in milliseconds. Nothing ends with an
    /// event like the last one: of several instances, the second is ready too.
    fn take(&mut self, event: &Event) -> Option<u64> {
        if is_aside(event.kind) {
            return None;
        }
        let unit = self.units.get_mut(&event.unit)?;
        let same = unit.last.as_ref().is_some_and(|last| last.kind == event.kind);
        let took = event.at.saturating_sub(unit.since);
        if !same {
            unit.since = event.at;
        }
        if event.kind != EventKind::Blocked {
            unit.told = None;
        }
        unit.last = Some(event.clone());
        (!same).then_some(took)
    }

    /// The first time, when the reason changes, and now and then while it lasts.
    fn worth_telling(&mut self, event: &Event) -> bool {
        let Some(unit) = self.units.get_mut(&event.unit) else { return true };
        // The reason without its duration: `waits for users (3 s)`.
        let reason = event.message.split(" (").next().unwrap_or_default();
        if unit.told.as_ref().is_some_and(|(at, told)| told == reason && event.at < at + REPEAT) {
            return false;
        }
        unit.told = Some((event.at, reason.to_owned()));
        true
    }
}

/// Whether a first start has failed with this event.
pub fn is_fatal(kind: EventKind) -> bool {
    matches!(kind, EventKind::BuildFailed | EventKind::GaveUp)
}

/// Whether an event says nothing of what a unit does.
fn is_aside(kind: EventKind) -> bool {
    use EventKind::{BreakerClosed, BreakerHalfOpen, BreakerOpened, Ejected, Released, Returned};
    matches!(kind, Released | BreakerOpened | BreakerHalfOpen | BreakerClosed | Ejected | Returned)
}

/// Whether an event wants to be read in full even where the state of all units is shown.
pub fn is_trouble(kind: EventKind) -> bool {
    is_fatal(kind)
        || matches!(
            kind,
            EventKind::Exited
                | EventKind::Refused
                | EventKind::Degraded
                | EventKind::NodeKilled
                | EventKind::LeftOut
        )
}

/// A kind of event in words.
pub fn word(kind: EventKind) -> (&'static str, Paint) {
    match kind {
        EventKind::Building => ("building", Paint::Busy),
        EventKind::Built => ("built", Paint::Busy),
        EventKind::BuildFailed => ("build failed", Paint::Bad),
        EventKind::Blocked => ("blocked", Paint::Busy),
        EventKind::Released => ("released", Paint::Good),
        EventKind::Started => ("started", Paint::Busy),
        EventKind::Adopted => ("adopted", Paint::Good),
        EventKind::Restarted => ("restarted", Paint::Busy),
        EventKind::Ready => ("ready", Paint::Good),
        EventKind::Exited => ("exited", Paint::Bad),
        EventKind::Backoff => ("backoff", Paint::Busy),
        EventKind::GaveUp => ("gave up", Paint::Bad),
        EventKind::LeftOut => ("left out", Paint::Busy),
        EventKind::Stopping => ("stopping", Paint::Faint),
        EventKind::Stopped => ("stopped", Paint::Faint),
        EventKind::Joined => ("joined", Paint::Good),
        EventKind::Left => ("left", Paint::Faint),
        EventKind::Expired => ("expired", Paint::Bad),
        EventKind::Applied => ("applied", Paint::Good),
        EventKind::Refused => ("refused", Paint::Bad),
        EventKind::Degraded => ("degraded", Paint::Bad),
        EventKind::Recovered => ("recovered", Paint::Good),
        EventKind::NodeKilled => ("node killed", Paint::Bad),
        EventKind::FaultAdded => ("fault added", Paint::Busy),
        EventKind::FaultRemoved => ("fault removed", Paint::Good),
        EventKind::FaultExpired => ("fault ended", Paint::Good),
        EventKind::FaultFired => ("fault", Paint::Bad),
        EventKind::BreakerOpened => ("breaker opened", Paint::Bad),
        EventKind::BreakerHalfOpen => ("breaker half-open", Paint::Busy),
        EventKind::BreakerClosed => ("breaker closed", Paint::Good),
        EventKind::Ejected => ("ejected", Paint::Bad),
        EventKind::Returned => ("returned", Paint::Good),
    }
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// As much of a line as fits: a line that wraps could not be rewritten.
fn fit(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.trim_end().to_owned();
    }
    let mut used = 1;
    let fits = line.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= columns
    });
    let mut fitted: String = fits.collect();
    fitted.push('…');
    fitted
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn event(at: u64, unit: &str, kind: EventKind, message: &str) -> Event {
        Event { at, unit: unit.into(), instance: None, release: None, kind, message: message.into() }
    }

    fn start() -> Vec<Event> {
        use EventKind::*;
        vec![
            event(0, "users", Building, "cargo build -p users"),
            event(0, "orders", Blocked, "waits for users (0 s)"),
            event(1_000, "orders", Blocked, "waits for users (1 s)"),
            event(2_300, "users", Built, ""),
            event(2_310, "users", Started, "users-k3x9qd, pid 4711"),
            event(2_500, "orders", Blocked, "waits for 결제 (2 s)"),
            event(2_600, "users", Ready, "http://127.0.0.1:41000"),
            event(12_500, "orders", Blocked, "waits for 결제 (12 s)"),
            event(13_000, "orders", GaveUp, "gave up after 5 starts: exit status 1\nthe port is taken\nbye"),
        ]
    }

    fn check_lines(events: &[Event], expected: Expect) {
        let mut progress = Progress::new(["users", "orders"], 0);
        let lines: Vec<_> = events.iter().flat_map(|event| progress.lines(event, Style::PLAIN)).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    fn check_block(events: &[Event], now: u64, columns: usize, expected: Expect) {
        let mut progress = Progress::new(["users", "orders"], 0);
        for event in events {
            progress.lines(event, Style::PLAIN);
        }
        let block = progress.block(now, columns, Style::PLAIN);
        assert!(block.iter().all(|line| line.width() < columns));
        // Between bars, since what is expected is freed of the space that all its lines begin with.
        let block: Vec<_> = block.iter().map(|line| format!("|{line}|")).collect();
        expected.assert_eq(&block.join("\n"));
    }

    #[test]
    fn a_line_tells_of_each_event_and_a_blocked_unit_does_not_repeat_itself() {
        check_lines(
            &start(),
            expect![[r#"
                users   building: cargo build -p users
                orders  blocked: waits for users (0 s)
                users   built after 2.3 s
                users   started: users-k3x9qd, pid 4711
                orders  blocked: waits for 결제 (2 s)
                users   ready after 0.2 s
                orders  blocked: waits for 결제 (12 s)
                orders  gave up after 5 starts: exit status 1
                    the port is taken
                    bye"#]],
        );
    }

    #[test]
    fn the_block_shows_what_each_unit_does_and_for_how_long() {
        check_block(
            &[],
            1_500,
            80,
            expect![[r#"
                |  orders  waiting         1.5 s|
                |  users   waiting         1.5 s|"#]],
        );
        check_block(
            &start()[..6],
            4_000,
            80,
            expect![[r#"
                |  orders  blocked         4.0 s  waits for 결제 (2 s)|
                |  users   started         1.6 s  users-k3x9qd, pid 4711|"#]],
        );
        check_block(
            &start(),
            14_000,
            80,
            expect![[r#"
                |  orders  gave up         1.0 s  gave up after 5 starts: exit status 1|
                |  users   ready           2.6 s|"#]],
        );
    }

    #[test]
    fn the_block_fits_the_terminal() {
        check_block(
            &start()[..6],
            4_000,
            38,
            expect![[r#"
                |  orders  blocked         4.0 s  wai…|
                |  users   started         1.6 s  use…|"#]],
        );
    }

    #[test]
    fn events_of_what_is_no_unit_are_told_too() {
        check_lines(
            &[event(5, "shop", EventKind::Refused, "2 problems")],
            expect!["shop    refused: 2 problems"],
        );
    }

    #[test]
    fn colour_changes_no_character() {
        let mut progress = Progress::new(["users", "orders"], 0);
        for event in &start() {
            progress.lines(event, Style::PLAIN);
        }
        let mut coloured = progress.block(14_000, 80, Style::COLOUR).join("\n");
        for code in [0, 2, 31, 32, 33] {
            coloured = coloured.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(coloured, progress.block(14_000, 80, Style::PLAIN).join("\n"));
    }
}
