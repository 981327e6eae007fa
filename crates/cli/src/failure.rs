//! What ends a command badly, and the exit code that says so to a script.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use madang_model::manifest::Errors;
use madang_wire::Problem;

use crate::style::{Paint, Style};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for could not be done.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
    /// The node answered with a problem.
    #[error("{}", .0.title)]
    Answer(Box<Problem>),
    /// The manifest is refused.
    #[error("the manifest is refused")]
    Manifest(Errors),
    /// No node runs the system.
    #[error("no system runs from {place}: start it with `{up}`")]
    NotRunning {
        /// The system in words.
        place: String,
        /// The command that starts it.
        up: String,
    },
    /// No node runs the system, but one that was killed left its services.
    #[error(
        "no node runs {place}, and {count} instances of an earlier one still do: `{up}` takes them over, `{down}` \
         stops them"
    )]
    Orphaned {
        /// The system in words.
        place: String,
        /// How many instances run.
        count: usize,
        /// The command that takes them over.
        up: String,
        /// The command that stops them.
        down: String,
    },
    /// It took longer than it was given.
    #[error("after {within} {what}")]
    Timeout {
        /// What has still not come.
        what: String,
        /// How long.
        within: String,
    },
    /// Nobody reads the output any more, as in `madang logs | head`.
    #[error("the output is closed")]
    Closed,
}

impl Failure {
    /// A failure with this message.
    pub fn message(message: impl Into<String>) -> Self {
        Self::Failed(anyhow::Error::msg(message.into()))
    }

    /// The exit code, as `madang --help` documents it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Closed => ExitCode::SUCCESS,
            Self::Failed(_) | Self::Answer(_) => ExitCode::from(1),
            Self::Manifest(_) => ExitCode::from(3),
            Self::NotRunning { .. } | Self::Orphaned { .. } => ExitCode::from(4),
            Self::Timeout { .. } => ExitCode::from(5),
        }
    }

    /// Says on stderr what went wrong. Where that cannot be written, as on a full disk, the exit code has to do.
    pub fn report(&self) {
        let style = Style::of(&io::stderr());
        let _ = io::stderr().write_all(self.in_words(style).as_bytes());
    }

    fn in_words(&self, style: Style) -> String {
        let head = style.paint(Paint::Bad, "error:").into_owned();
        match self {
            Self::Closed => String::new(),
            Self::Manifest(errors) => crate::manifest::render(errors, style),
            Self::Answer(problem) => {
                let what = problem.detail.as_deref().unwrap_or(&problem.title);
                let fields =
                    problem.errors.iter().map(|field| format!("  {}: {}\n", field.field, field.message));
                format!("{head} {what} ({})\n{}", problem.code, fields.collect::<String>())
            }
            Self::Failed(error) => format!("{head} {error:#}\n"),
            Self::NotRunning { .. } | Self::Orphaned { .. } | Self::Timeout { .. } => {
                format!("{head} {self}\n")
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error.into()),
        }
    }
}
