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
    /// Whether what is shown goes on without anybody who looks.
    lasting: bool,
    /// Nobody looks any more.
    closed: bool,
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
            lasting: false,
            closed: false,
            drawn: 0,
        }
    }

    /// Of something that does not end because its output is closed, as in `madang up | head -1`: that is said once, and
    /// nothing is shown any more.
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Shows what happened.
    pub fn event(&mut self, event: &Event) -> Result<(), Failure> {
        let shown = self.show(event);
        self.heard(shown)
    }

    fn show(&mut self, event: &Event) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        if self.output.is_json() {
            return self.output.json_line(event);
        }
        let lines = self.progress.lines(event, self.output.style());
        if self.live && !is_trouble(event.kind) {
            return self.draw();
        }
        self.print(&lines)
    }

    /// Takes in whether somebody still looks.
    fn heard(&mut self, shown: Result<(), Failure>) -> Result<(), Failure> {
        match shown {
            Err(Failure::Closed) if self.lasting => {
                self.closed = true;
                tracing::warn!("the output of the command is closed: the system runs on");
                // Where this is closed too there is nobody to tell.
                let _ = writeln!(
                    io::stderr(),
                    "the output is closed: the system runs on, and says nothing more here"
                );
                Ok(())
            }
            shown => shown,
        }
    }

    /// Shows how time passes.
    pub fn tick(&mut self) -> Result<(), Failure> {
        let drawn = if self.live && !self.closed { self.draw() } else { Ok(()) };
        self.heard(drawn)
    }

    /// Shows lines that stay; the block begins anew below them.
    pub fn keep(&mut self, lines: &[String]) -> Result<(), Failure> {
        let printed = if self.closed { Ok(()) } else { self.print(lines) };
        self.heard(printed)
    }

    fn print(&mut self, lines: &[String]) -> Result<(), Failure> {
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
