//! Colour, where a person looks on and has not refused it.

use std::{borrow::Cow, io::IsTerminal};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_only_coloured_where_it_is_wanted() {
        assert_eq!(Style::PLAIN.paint(Paint::Bad, "no"), "no");
        assert_eq!(Style::COLOUR.paint(Paint::Bad, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(Style::COLOUR.paint(Paint::Bad, ""), "");
    }
}
