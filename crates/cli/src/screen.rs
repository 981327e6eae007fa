//! Where progress is shown: a block that is rewritten on a terminal, lines that stay anywhere else, or events as
//! JSON for a script.

use std::io::{self, IsTerminal, Write};

use madang_wire::admin::Event;

use crate::{
    args::Format,
    failure::Failure,
    output::Output,
    progress::{Progress, is_trouble},
    units,
};

/// Shows progress.
pub struct Screen {
    pub output: Output,
    progress: Progress,
    live: bool,
    /// How many lines the block on the terminal has.
    drawn: usize,
}

impl Screen {
    /// For these units, from now on.
    pub fn new<'a>(format: Format, units: impl IntoIterator<Item = &'a str>) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Self {
            output: Output::new(format),
            progress: Progress::new(units, units::now()),
            live: format == Format::Table && io::stdout().is_terminal() && !dumb,
            drawn: 0,
        }
    }

    /// Shows what happened.
    pub fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.json_line(event);
        }
        let lines = self.progress.lines(event, self.output.style());
        if self.live && !is_trouble(event.kind) {
            return self.draw();
        }
        self.keep(&lines)
    }

    /// Shows how time passes.
    pub fn tick(&mut self) -> Result<(), Failure> {
        if self.live { self.draw() } else { Ok(()) }
    }

    /// Shows lines that stay; the block begins anew below them.
    pub fn keep(&mut self, lines: &[String]) -> Result<(), Failure> {
        let mut text = self.erased();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.output.text(&text)
    }

    /// Leaves the block as it is: from now on lines stay.
    pub fn settle(&mut self) {
        self.live = false;
        self.drawn = 0;
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col));
        let block = self.progress.block(units::now(), columns.max(20), self.output.style());
        let mut text = self.erased();
        for line in &block {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = block.len();
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Goes back over the block and clears it.
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}
