//! Where a command's answer goes: stdout, as a table for people or as JSON for scripts.

use std::io::{self, Write};

use serde::Serialize;

use crate::{args::Format, failure::Failure, style::Style, table::Table};

/// The answer of a command.
pub struct Output {
    format: Format,
    style: Style,
}

impl Output {
    /// To stdout, in a format.
    pub fn new(format: Format) -> Self {
        Self { format, style: Style::of(&io::stdout()) }
    }

    /// Whether a script reads it.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// How text is coloured.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Writes one JSON document, for reading.
    pub fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        self.line(&serde_json::to_string_pretty(document).map_err(anyhow::Error::from)?)
    }

    /// Writes one JSON document as one line, as one of a stream.
    pub fn json_line(&self, document: &impl Serialize) -> Result<(), Failure> {
        self.line(&serde_json::to_string(document).map_err(anyhow::Error::from)?)
    }

    /// Writes a table.
    pub fn table(&self, table: &Table) -> Result<(), Failure> {
        self.text(&table.render(self.style))
    }

    /// Writes a line.
    pub fn line(&self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Writes text as it is.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}
