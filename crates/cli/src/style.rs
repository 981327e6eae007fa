//! Colour, where a person looks on and has not refused it.

use std::{borrow::Cow, io::IsTerminal};

use unicode_width::UnicodeWidthChar;

/// Whether to colour what is written to one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// It is well.
    Good,
    /// It takes its time.
    Busy,
    /// It went wrong.
    Bad,
    /// It is less important than the rest.
    Faint,
    /// It is more important than the rest.
    Strong,
    /// One of several things to be told apart.
    Nth(usize),
}

impl Style {
    /// Plain text.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colour: false };
    /// Coloured text.
    #[cfg(test)]
    pub const COLOUR: Self = Self { colour: true };

    /// Colour only on a terminal, and not if `NO_COLOR` is set to anything.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: stream.is_terminal() && !refused }
    }

    /// Whether text is coloured.
    pub fn coloured(self) -> bool {
        self.colour
    }

    /// The text, in the colour of what it means.
    pub fn paint(self, paint: Paint, text: &str) -> Cow<'_, str> {
        if !self.colour || text.is_empty() {
            return text.into();
        }
        let code = match paint {
            Paint::Good => 32,
            Paint::Busy => 33,
            Paint::Bad => 31,
            Paint::Faint => 2,
            Paint::Strong => 1,
            // Cyan, magenta, blue, yellow, green: those that mean nothing bad.
            Paint::Nth(n) => [36, 35, 34, 33, 32][n % 5],
        };
        format!("\x1b[{code}m{text}\x1b[0m").into()
    }
}

/// As much of each line as a terminal of so many columns shows without wrapping it; whoever draws lines anew counts them.
pub fn clip(text: &str, columns: usize) -> String {
    text.lines().map(|line| clipped(line, columns) + "\n").collect()
}

fn clipped(line: &str, columns: usize) -> String {
    if pieces(line).map(|(_, width)| width).sum::<usize>() <= columns {
        return line.to_owned();
    }
    let mut used = 0;
    let fits = pieces(line).take_while(|(_, width)| {
        used += width;
        used < columns
    });
    let mut text: String = fits.map(|(piece, _)| piece).collect();
    text.push('…');
    if line.contains('\x1b') {
        text.push_str("\x1b[0m");
    }
    text
}

/// The characters of a line with the columns that each takes, and its colours, which take none.
fn pieces(line: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (length, width) = match first {
            '\x1b' => (rest.find('m').map_or(rest.len(), |end| end + 1), 0),
            _ => (first.len_utf8(), first.width().unwrap_or(0)),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some((piece, width))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_only_coloured_where_it_is_wanted() {
        assert_eq!(Style::PLAIN.paint(Paint::Bad, "no"), "no");
        assert_eq!(Style::COLOUR.paint(Paint::Bad, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(Style::COLOUR.paint(Paint::Bad, ""), "");
    }

    #[test]
    fn what_is_too_wide_is_cut_by_what_is_seen_and_its_colour_ends() {
        let painted = format!("{}  {}\nend", Style::COLOUR.paint(Paint::Bad, "wide"), "마당 마당");
        assert_eq!(clip(&painted, 15), painted.clone() + "\n");
        assert_eq!(clip(&painted, 14), "\x1b[31mwide\x1b[0m  마당 마…\x1b[0m\nend\n");
        assert_eq!(clip(&painted, 3), "\x1b[31mwi…\x1b[0m\nend\n");
    }
}
