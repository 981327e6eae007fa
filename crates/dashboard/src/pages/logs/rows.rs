//! Lines as rows.

use madang_wire::log::{LogLevel, LogLine};
use maud::{Markup, html};

use crate::{format, query::with};

const COLUMNS: usize = 5;

/// Fields that the row says anyway, or that tell programs from each other rather than lines. They are searched all the
/// same, and the whole line is shown where the reader points.
const UNSAID: [&str; 4] = ["service", "target", "hostname", "pid"];

/// The heads of the columns, which readers of the page hear.
pub(super) fn head() -> Markup {
    html! {
        thead.hidden { tr {
            th scope="col" { "Time" } th scope="col" { "Level" } th scope="col" { "Unit" } th scope="col" { "Line" }
            th scope="col" { "Trace" }
        } }
    }
}

/// Lines as rows, after a note of how many are left out before them.
pub(crate) fn rows(lines: &[LogLine], skipped: usize) -> Markup {
    html! {
        @if skipped > 0 { tr { td colspan=(COLUMNS) .muted { (skipped) " lines came too quickly to be shown" } } }
        @for line in lines { (row(line)) }
    }
}

fn row(line: &LogLine) -> Markup {
    let of_unit = with("/logs", &[("service", Some(&line.unit))]);
    html! {
        tr.{ @if let Some(level) = line.level { (level.name()) } } {
            td.time { (format::clock(line.at)) }
            td.level { @if let Some(level) = line.level { (mark(level)) } }
            th scope="row" { a href=(of_unit) title=(line.instance) { (line.unit) } }
            td.text title=[line.message.as_ref().map(|_| &line.line)] { (text(line)) }
            td.links {
                @if let Some(trace) = &line.trace_id {
                    @let id = trace.to_string();
                    (format::trace(&id))
                    @if line.level >= Some(LogLevel::Error) { " " a href={ "/why/" (id) } aria-label={ "Why " (&id[..8]) } { "why" } }
                }
            }
        }
    }
}

fn mark(level: LogLevel) -> Markup {
    let class = match level {
        LogLevel::Error | LogLevel::Fatal => "bad",
        LogLevel::Warn => "busy",
        LogLevel::Trace | LogLevel::Debug | LogLevel::Info => "quiet",
    };
    html! { span.badge.(class) { (level.name()) } }
}

/// What a line says; of one that others continue, as those of a stack trace do, the first with the rest folded.
fn text(line: &LogLine) -> Markup {
    let (first, rest) = line.text().split_once('\n').unwrap_or((line.text(), ""));
    let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = line.fields.iter().filter(|(key, _)| !UNSAID.contains(&key.as_str()));
    let said = html! {
        (first)
        @for (key, of_key) in fields { " " span.muted { (key) "=" (value(of_key)) } }
    };
    html! { @if rest.is_empty() { (said) } @else { details { summary { (said) } pre { (rest) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(said: &str) -> LogLine {
        let whole = format!(r#"{{"at":1,"unit":"orders","instance":"orders-a","source":"output",{said}}}"#);
        serde_json::from_str(&whole).unwrap()
    }

    #[test]
    fn a_line_leads_to_its_trace_and_a_bad_one_to_why() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let bad = format!(
            r#""level":"error","trace_id":"{id}","message":"<b>refused</b>","fields":{{"order":7,"target":"a::b"}},"line":"""#
        );
        let shown = rows(&[line(&bad)], 3).into_string();
        assert!(shown.contains("3 lines came too quickly"), "{shown}");
        assert!(shown.contains("&lt;b&gt;refused&lt;/b&gt; <span class=\"muted\">order=7</span>"), "{shown}");
        assert!(shown.contains(&format!("href=\"/traces/{id}\"")), "{shown}");
        assert!(shown.contains(&format!("href=\"/why/{id}\"")), "{shown}");
        assert!(!shown.contains("target="), "{shown}");
        let well = rows(&[line(&bad.replace("error", "info"))], 0).into_string();
        assert!(!well.contains("/why/"), "{well}");
    }

    #[test]
    fn what_continues_a_line_is_folded() {
        let shown = rows(&[line(r#""line":"it failed\n  at a\n  at b""#)], 0).into_string();
        assert!(shown.contains("<summary>it failed</summary><pre>  at a\n  at b</pre>"), "{shown}");
    }
}
