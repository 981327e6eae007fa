//! What CI runs, on this machine. The steps are in `.ci/run` and nowhere else.

use anyhow::Result;

use crate::command::{self, root};

/// Runs `.ci/run`.
pub fn run() -> Result<()> {
    command::run(command::program("bash").arg(root().join(".ci/run")))
}
