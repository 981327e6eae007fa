//! The manifest, as the commands that read it need it: loaded, or refused for a person to see why.

use madang_model::manifest::{Errors, Loaded};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::{failure::Failure, locate::Location, style::Style};

/// Loads the manifest of a system, with the variables of this process.
pub fn load(location: &Location) -> Result<Loaded, Failure> {
    madang_node::load(location.given(), location.environment(), &|name| std::env::var(name).ok())
        .map_err(Failure::Manifest)
}

/// Every problem with its lines, and how many there are.
pub fn render(errors: &Errors, style: Style) -> String {
    let theme = match style.coloured() {
        true => GraphicalTheme::unicode(),
        false => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(columns());
    let mut text = String::new();
    for error in errors {
        // Writing to a string fails only if a diagnostic's own source cannot be read: it is shown plainly then.
        if handler.render_report(&mut text, error).is_err() {
            text.push_str(&format!("{error}\n"));
        }
        text.push('\n');
    }
    text.push_str(&format!("{errors}\n"));
    text
}

/// The width of the terminal, within what can be read.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map_or(100, |size| usize::from(size.ws_col)).clamp(60, 120)
}
