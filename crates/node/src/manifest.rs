//! The manifest as a node takes it: also what only those can check who go by it.

use std::path::Path;

use madang_model::manifest::{self, Errors, Loaded};

/// Loads the manifest that a path means, in an environment, and checks its expressions too; `env` gives the variables of
/// the process.
///
/// # Errors
/// Every problem that was found; those of expressions only once there are no others.
pub fn load(
    path: &Path,
    environment: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Errors> {
    let loaded = manifest::load_in(path, environment, env)?;
    madang_gateway::check(&loaded.system)?;
    Ok(loaded)
}
