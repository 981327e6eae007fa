//! Tables of text, aligned by the columns that a terminal gives each character.

use unicode_width::UnicodeWidthStr;

use crate::style::{Paint, Style};

/// The space between two columns.
const GAP: &str = "  ";

/// A table with a header.
pub struct Table {
    header: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
pub struct Cell {
    text: String,
    paint: Option<Paint>,
}

// === impl Table ===

impl Table {
    /// A table without rows.
    pub fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, each line ended.
    pub fn render(&self, style: Style) -> String {
        let widths: Vec<usize> = self
            .header
            .iter()
            .enumerate()
            .map(|(column, title)| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.text.width()).fold(title.width(), usize::max)
            })
            .collect();
        let header: Vec<_> = self.header.iter().map(|title| Cell::new(title).paint(Paint::Strong)).collect();
        let mut text = String::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            line(&mut text, row, &widths, style);
        }
        text
    }
}

/// One line; nothing is padded at its end.
fn line(text: &mut String, row: &[Cell], widths: &[usize], style: Style) {
    let used = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
    for (column, cell) in row[..used].iter().enumerate() {
        match cell.paint {
            Some(paint) => text.push_str(&style.paint(paint, &cell.text)),
            None => text.push_str(&cell.text),
        }
        if column + 1 < used {
            text.push_str(&" ".repeat(widths[column].saturating_sub(cell.text.width())));
            text.push_str(GAP);
        }
    }
    text.push('\n');
}

// === impl Cell ===

impl Cell {
    /// A cell with this text; line ends and control characters, which would break the table, become spaces.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = text.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { text, paint: None }
    }

    /// A cell with the text of something that may be missing.
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or_else(|| Self::new("-").paint(Paint::Faint), |text| Self::new(text.to_string()))
    }

    /// Gives the cell a meaning.
    pub fn paint(mut self, paint: Paint) -> Self {
        self.paint = Some(paint);
        self
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "URL"]);
        table.row([Cell::new("주문"), Cell::new("ready").paint(Paint::Good), Cell::new("http://a")]);
        table.row([Cell::new("users-k3x9"), Cell::new("wai\nting"), Cell::new("")]);
        table.row([Cell::new("é"), Cell::maybe(None::<u32>), Cell::new("x")]);
        table
    }

    #[test]
    fn columns_line_up_by_what_is_seen() {
        expect![[r#"
            NAME        STATE     URL
            주문        ready     http://a
            users-k3x9  wai ting
            é           -         x
        "#]]
        .assert_eq(&table().render(Style::PLAIN));
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let plain = table().render(Style::PLAIN);
        let mut coloured = table().render(Style::COLOUR);
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, plain);
    }
}
