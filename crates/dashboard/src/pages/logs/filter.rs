//! Which lines a page of logs shows: what its address says, as a question to the API, as a form and as a command.

use std::fmt::Write;

use madang_wire::{
    admin::ServiceView,
    log::{LogLevel, LogLine},
};
use maud::{Markup, html};

use crate::{
    format,
    query::{Query, with},
    shell::word,
};

/// How many lines a page begins with.
const FIRST: usize = 200;

/// How many a page shows at most.
const MOST: usize = 10_000;

/// Which lines are shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    /// Only those of these services; of all if empty.
    services: Vec<&'a str>,
    /// Only those of this level or a worse one.
    level: Option<LogLevel>,
    /// Only those that say this.
    grep: Option<&'a str>,
    /// Only those of the trace, or of the request, with this id.
    trace: Option<&'a str>,
    /// Only those until then, in milliseconds since 1970: a page of older lines, which follows nothing.
    pub(super) until: Option<u64>,
    /// How many.
    pub(super) lines: usize,
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// What an address asks for. What is no level or no time asks for nothing.
    pub(crate) fn of(query: &'a Query) -> Self {
        Self {
            services: query.all("service").collect(),
            level: query.parsed("level"),
            grep: query.get("grep"),
            trace: query.get("trace"),
            until: query.parsed("until"),
            lines: query.parsed("n").unwrap_or(FIRST).clamp(1, MOST),
        }
    }

    /// Whether it lets every line pass.
    pub(super) fn is_empty(&self) -> bool {
        let Self { services, level, grep, trace, until, lines: _ } = self;
        services.is_empty() && level.is_none() && grep.is_none() && trace.is_none() && until.is_none()
    }

    /// What is asked of the API: so many of the last lines, and whether also those to come.
    pub(crate) fn question(&self, lines: usize, follow: bool) -> String {
        let lines = lines.to_string();
        let mut parameters = vec![("n", Some(lines.as_str()))];
        parameters.extend(follow.then_some(("follow", Some("true"))));
        self.at("/v1/logs", &parameters, self.until)
    }

    /// The address of what follows these lines.
    pub(super) fn address(&self, path: &str) -> String {
        self.at(path, &[], None)
    }

    /// The address without a time, at which lines come again.
    pub(super) fn newest(&self) -> String {
        self.address("/logs")
    }

    /// The address of the page with what is older than these lines. A moment may have lines on both pages, so that none
    /// is on neither; if one moment fills the page, the next has more lines.
    pub(super) fn older(&self, shown: &[LogLine]) -> Option<String> {
        let (first, last) = (shown.first()?, shown.last()?);
        let stuck = first.at == last.at && self.until == Some(first.at);
        let lines = if stuck { self.lines.saturating_mul(2).min(MOST) } else { self.lines };
        let n = (lines != FIRST).then(|| lines.to_string());
        Some(self.at("/logs", &[("n", n.as_deref())], Some(first.at)))
    }

    fn at(&self, path: &str, first: &[(&str, Option<&str>)], until: Option<u64>) -> String {
        let until = until.map(|until| until.to_string());
        let mut parameters: Vec<(&str, Option<&str>)> = first.to_vec();
        parameters.extend(self.services.iter().map(|service| ("service", Some(*service))));
        parameters.push(("level", self.level.map(LogLevel::name)));
        parameters.push(("grep", self.grep));
        parameters.push(("trace", self.trace));
        parameters.push(("until", until.as_deref()));
        with(path, &parameters)
    }

    /// The command that shows the same.
    pub(super) fn command(&self) -> String {
        let mut command = "madang logs".to_owned();
        let mut option = |name: &str, value: &str| {
            let _ = write!(command, " {name} {}", word(value));
        };
        if let Some(level) = self.level {
            option("--level", level.name());
        }
        if let Some(text) = self.grep {
            option("--grep", text);
        }
        if let Some(id) = self.trace {
            option("--trace", id);
        }
        if let Some(until) = self.until {
            option("-n", &self.lines.to_string());
            option("--until", &format::rfc3339(until));
        }
        if self.until.is_none() {
            command.push_str(" -f");
        }
        for service in &self.services {
            let _ = write!(command, " {}", word(service));
        }
        command
    }

    /// The form that says it, also without scripts.
    pub(super) fn form(&self, services: &[ServiceView]) -> Markup {
        html! {
            form.filters method="get" action="/logs" {
                label { "Text " input type="search" name="grep" value=[self.grep] data-search; }
                label { "At least " select name="level" {
                    option value="" { "any level" }
                    @for level in LogLevel::ALL {
                        option value=(level.name()) selected[self.level == Some(level)] { (level.name()) }
                    }
                } }
                label { "Trace or request " input.id type="text" name="trace" value=[self.trace] spellcheck="false"; }
                (self.choice(services))
                button type="submit" { "Filter" }
                @if !self.is_empty() { a href="/logs" { "All lines" } }
            }
        }
    }

    fn choice(&self, services: &[ServiceView]) -> Markup {
        let chosen = if self.services.is_empty() { "all".to_owned() } else { self.services.join(", ") };
        html! {
            details.choice {
                summary { "Services: " (chosen) }
                fieldset {
                    legend.hidden { "Only lines of" }
                    @for one in services.iter().filter(|one| one.unit.is_some()) {
                        label.tick {
                            input type="checkbox" name="service" value=(one.name) checked[self.services.contains(&one.name.as_str())];
                            " " (one.name)
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(query: &str, question: &str, command: &str) {
        let query = Query::new(query);
        let filter = Filter::of(&query);
        assert_eq!(filter.question(5, true), question);
        assert_eq!(filter.command(), command);
    }

    #[test]
    fn an_address_is_a_question_and_a_command() {
        check("", "/v1/logs?n=5&follow=true", "madang logs -f");
        check(
            "service=users&service=orders&level=warn&grep=it%27s+late&trace=0af7",
            "/v1/logs?n=5&follow=true&service=users&service=orders&level=warn&grep=it%27s+late&trace=0af7",
            r"madang logs --level warn --grep 'it'\''s late' --trace 0af7 -f users orders",
        );
        check("level=loud&until=soon&grep=", "/v1/logs?n=5&follow=true", "madang logs -f");
        check(
            "until=1767225603004&service=users&n=7",
            "/v1/logs?n=5&follow=true&service=users&until=1767225603004",
            "madang logs -n 7 --until 2026-01-01T00:00:03.004Z users",
        );
    }

    #[test]
    fn paging_back_misses_no_line_of_a_moment() {
        let line = |at: u64| -> LogLine {
            let line =
                json!({"at": at, "unit": "users", "instance": "users-a", "source": "output", "line": ""});
            serde_json::from_value(line).unwrap()
        };
        let older = |query: &str, shown: &[u64]| {
            let query = Query::new(query);
            let lines: Vec<_> = shown.iter().copied().map(line).collect();
            Filter::of(&query).older(&lines)
        };
        assert_eq!(older("", &[]), None);
        assert_eq!(older("grep=x", &[4, 5, 9]).as_deref(), Some("/logs?grep=x&until=4"));
        assert_eq!(older("until=9", &[4, 5, 9]).as_deref(), Some("/logs?until=4"));
        assert_eq!(older("until=4", &[4, 4]).as_deref(), Some("/logs?n=400&until=4"), "it has more than fit");
        assert_eq!(older("until=4&n=10000", &[4, 4]).as_deref(), Some("/logs?n=10000&until=4"));
    }
}
