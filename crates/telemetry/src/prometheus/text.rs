//! The two formats that Prometheus reads, and which of them somebody asks for.
//!
//! Sources: Prometheus' text format 0.0.4, and OpenMetrics 1.0. The latter names counters without `_total` in what it
//! says of them, writes numbers that are `le` with a point, ends with `# EOF`, and has exemplars.

use std::fmt::Write;

use super::writer::{Exemplar, Histogram, Kind, Labels};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// A text in one of the formats.
pub(super) struct Text {
    exposition: Exposition,
    text: String,
}

// === impl Exposition ===

impl Exposition {
    /// What the header `Accept` asks for: OpenMetrics if it is preferred, and text otherwise.
    pub fn wanted(accept: &str) -> Self {
        let weight = |kind: &str| {
            let of = |part: &str| {
                let mut words = part.split(';').map(str::trim);
                (words.next()? == kind).then_some(())?;
                let q =
                    words.find_map(|word| word.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
                Some((q * 1000.0) as u32)
            };
            accept.split(',').filter_map(|part| of(part.trim())).max()
        };
        let open = weight("application/openmetrics-text").unwrap_or(0);
        match open > 0 && open >= weight("text/plain").unwrap_or(0) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// For the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

// === impl Text ===

impl Text {
    pub(super) fn new(exposition: Exposition) -> Self {
        Self { exposition, text: String::new() }
    }

    /// What is said of a family before its samples.
    pub(super) fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let said = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let total = if kind == Kind::Counter && self.exposition == Exposition::Text { "_total" } else { "" };
        let help = escaped(help, self.exposition == Exposition::OpenMetrics);
        let _ = writeln!(self.text, "# HELP {name}{total} {help}\n# TYPE {name}{total} {said}");
    }

    pub(super) fn number(&mut self, name: &str, kind: Kind, labels: &Labels<'_>, value: f64) {
        let suffix = if kind == Kind::Counter { "_total" } else { "" };
        self.sample(name, suffix, labels, None, value);
        self.exemplar(None);
    }

    pub(super) fn histogram(&mut self, name: &str, labels: &Labels<'_>, histogram: &Histogram<'_>) {
        let Histogram { bounds, counts, sum, exemplars } = *histogram;
        let pointed = self.exposition == Exposition::OpenMetrics;
        let bounds = bounds.iter().map(|bound| number(*bound, pointed)).chain(["+Inf".to_owned()]);
        let mut seen = 0;
        for (place, (le, count)) in bounds.zip(counts).enumerate() {
            seen += count;
            self.sample(name, "_bucket", labels, Some(&le), seen as f64);
            self.exemplar(exemplars.get(place).and_then(Option::as_ref));
        }
        for (suffix, value) in [("_sum", sum), ("_count", seen as f64)] {
            self.sample(name, suffix, labels, None, value);
            self.exemplar(None);
        }
    }

    pub(super) fn end(mut self) -> String {
        if self.exposition == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &Labels<'_>, le: Option<&str>, value: f64) {
        let _ = write!(self.text, "{name}{suffix}");
        let all = labels.iter().copied().chain(le.map(|le| ("le", le)));
        for (place, (label, value)) in all.enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value, true));
        }
        if !labels.is_empty() || le.is_some() {
            self.text.push('}');
        }
        let _ = write!(self.text, " {}", number(value, false));
    }

    fn exemplar(&mut self, exemplar: Option<&Exemplar>) {
        if let (Exposition::OpenMetrics, Some(Exemplar { trace, value, at })) = (self.exposition, exemplar) {
            let at = *at as f64 / 1000.0;
            let _ = write!(self.text, " # {{trace_id=\"{trace}\"}} {} {at:.3}", number(*value, false));
        }
        self.text.push('\n');
    }
}

/// A number as both formats read it; with a point where OpenMetrics compares it as text.
fn number(value: f64, pointed: bool) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value if pointed && value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.1}"),
        value => format!("{value}"),
    }
}

/// Quotes are escaped in the values of labels, and by OpenMetrics in what is said of a family too.
fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::writer::Writer;

    #[test]
    fn what_is_asked_for_is_what_is_preferred() {
        use Exposition::{OpenMetrics, Text};
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, wanted) in [
            (prometheus, OpenMetrics),
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.2", Text),
            ("application/openmetrics-text; version=1.0.0; q=0", Text),
        ] {
            assert_eq!(Exposition::wanted(accept), wanted, "{accept}");
        }
    }

    fn written(exposition: Exposition) -> String {
        let mut writer = Writer::text(exposition);
        writer.family("jobs", Kind::Counter, "Jobs that\nended").add(&[("queue", "a\"b\\c\n")], 3.0);
        writer.family("level", Kind::Gauge, "How \"high\"").add(&[], f64::NAN);
        let example = Exemplar { trace: madang_wire::TraceId(0xab), value: 0.25, at: 1500 };
        let histogram =
            Histogram { bounds: &[0.5, 1.0], counts: &[2, 0, 1], sum: 4.5, exemplars: &[Some(example)] };
        writer.family("wait_seconds", Kind::Histogram, "How long").histogram(&[("queue", "a")], &histogram);
        writer.into_text()
    }

    #[test]
    fn text_is_as_prometheus_reads_it() {
        let expected = r#"# HELP jobs_total Jobs that\nended
# TYPE jobs_total counter
jobs_total{queue="a\"b\\c\n"} 3
# HELP level How "high"
# TYPE level gauge
level NaN
# HELP wait_seconds How long
# TYPE wait_seconds histogram
wait_seconds_bucket{queue="a",le="0.5"} 2
wait_seconds_bucket{queue="a",le="1"} 2
wait_seconds_bucket{queue="a",le="+Inf"} 3
wait_seconds_sum{queue="a"} 4.5
wait_seconds_count{queue="a"} 3
"#;
        assert_eq!(written(Exposition::Text), expected);
    }

    #[test]
    fn open_metrics_has_exemplars_and_an_end() {
        let written = written(Exposition::OpenMetrics);
        for line in [
            "# TYPE jobs counter",
            "jobs_total{queue=\"a\\\"b\\\\c\\n\"} 3",
            "wait_seconds_bucket{queue=\"a\",le=\"0.5\"} 2 # {trace_id=\"000000000000000000000000000000ab\"} 0.25 1.500",
            "wait_seconds_bucket{queue=\"a\",le=\"1.0\"} 2",
        ] {
            assert!(written.lines().any(|found| found == line), "{line} in {written}");
        }
        assert!(written.ends_with("# EOF\n"));
    }
}
