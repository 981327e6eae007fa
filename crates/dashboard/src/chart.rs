//! Lines over time as a picture: with the calls that stand for a range of them, and what happened meanwhile.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};

/// A chart. Its values are of one unit and at least zero.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The times at its two ends, in milliseconds since 1970.
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// The largest value that it has room for at least: so that charts side by side have one scale.
    pub(crate) top: f64,
    pub(crate) unit: fn(f64) -> String,
    pub(crate) lines: Vec<Line>,
    pub(crate) dots: Vec<Dot>,
    pub(crate) marks: Vec<Mark>,
}

/// A line: values at times, and none where there is nothing to say.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// How it looks: `first`, `second`, `third` or `bad`.
    pub(crate) class: &'static str,
    pub(crate) points: Vec<(u64, Option<f64>)>,
}

/// One call of those that a line is made of.
pub(crate) struct Dot {
    pub(crate) at: u64,
    pub(crate) value: f64,
    pub(crate) href: String,
    pub(crate) failed: bool,
    pub(crate) said: String,
}

/// Something that happened.
pub(crate) struct Mark {
    pub(crate) at: u64,
    pub(crate) said: String,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

impl Chart {
    /// The largest value in it.
    pub(crate) fn highest(&self) -> f64 {
        let values = self.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
        values.chain(self.dots.iter().map(|dot| dot.value)).fold(0.0, f64::max)
    }

    pub(crate) fn draw(&self) -> Markup {
        let top = nice(self.highest().max(self.top));
        let unit = self.unit;
        let x = |at: u64| {
            let share = at.saturating_sub(self.from) as f64 / (self.until - self.from).max(1) as f64;
            LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
        };
        let y = |value: f64| TOP + (1.0 - (value / top).clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM);
        let last = |line: &Line| line.points.iter().rev().find_map(|(_, value)| *value).map(unit);
        html! {
            figure.chart {
                figcaption {
                    span { (self.title) }
                    @for line in &self.lines {
                        span.key.(line.class) { (line.name) @if let Some(last) = last(line) { " " span.muted { (last) } } }
                    }
                }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="group" aria-label={ (self.title) ", up to " (unit(self.highest())) } {
                    @for quarter in 0..=2u8 {
                        @let value = top * f64::from(quarter) / 2.0;
                        line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(value)) y2=(y(value)) {}
                        text.value x=(LEFT - 6.0) y=(y(value) + 4.0) { (unit(value)) }
                    }
                    @for at in times(self.from, self.until) { text.time x=(x(at)) y=(HEIGHT - 6.0) { (time(at, self.until - self.from)) } }
                    @for mark in &self.marks {
                        line.event x1=(x(mark.at)) x2=(x(mark.at)) y1=(TOP) y2=(HEIGHT - BOTTOM) { title { (mark.said) } }
                    }
                    @for line in self.lines.iter().rev() { path.line.(line.class) d=(path(&line.points, &x, &y)) {} }
                    @for dot in &self.dots {
                        a.dot.{ @if dot.failed { "bad" } } href=(dot.href) aria-label=(dot.said) {
                            title { (dot.said) }
                            circle cx=(round(x(dot.at))) cy=(round(y(dot.value))) r="4" {}
                        }
                    }
                }
            }
        }
    }
}

/// A line with gaps where there is nothing to say; a point by itself is a short stroke.
fn path(points: &[(u64, Option<f64>)], x: &impl Fn(u64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut open = false;
    for (at, value) in points {
        let Some(value) = value else {
            open = false;
            continue;
        };
        let (x, y) = (round(x(*at)), round(y(*value)));
        path.push_str(&match open {
            true => format!("L{x} {y}"),
            false => format!("M{x} {y}h1"),
        });
        open = true;
    }
    path
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The next number of 1, 2 or 5 with zeros.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

/// Five times from one end to the other.
fn times(from: u64, until: u64) -> impl Iterator<Item = u64> {
    (0..5).map(move |fifth| from + (until - from) * (2 * fifth + 1) / 10)
}

fn time(at: u64, shown: u64) -> String {
    let moment = i64::try_from(at).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let form = match shown {
        0..=1_200_000 => "%H:%M:%S",
        1_200_001..=172_800_000 => "%H:%M",
        _ => "%m-%d %H:%M",
    };
    moment.unwrap_or_default().to_zoned(TimeZone::system()).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_where_there_is_nothing_to_say() {
        let points = [(0, Some(1.0)), (1, Some(2.0)), (2, None), (3, Some(0.0))];
        assert_eq!(path(&points, &|at| at as f64, &|value| value), "M0 1h1L1 2M3 0h1");
    }

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([0.0, 0.3, 1.0, 7.0, 120.0, 2001.0].map(nice), [1.0, 0.5, 1.0, 10.0, 200.0, 5000.0]);
    }
}
