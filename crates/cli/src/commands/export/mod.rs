//! `madang export`: files for Prometheus and Grafana, which they take as they are.

mod grafana;
mod prometheus;

use std::{fs, path::Path};

use anyhow::Context;
use madang_model::System;

use crate::{args::Export, failure::Failure, locate::Location, output::Output};

/// Writes the files of one of them.
pub fn run(location: &Location, output: &Output, export: &Export) -> Result<(), Failure> {
    let system = crate::manifest::load(location)?.system;
    let (files, options) = match export {
        Export::Prometheus(options) => (prometheus::files(&system), options),
        Export::Grafana(options) => (grafana::files(&system), options),
    };
    let folder = &options.out;
    fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    let mut written = Vec::new();
    for (name, content) in files {
        let path = folder.join(name);
        write(&path, &content)?;
        written.push(path.display().to_string());
    }
    if output.is_json() {
        return output.json(&serde_json::json!({ "files": written }));
    }
    written.iter().try_for_each(|path| output.line(path))?;
    match export {
        Export::Prometheus(_) if system.telemetry.metrics.is_none() => eprintln!(
            "note: {} tells Prometheus nothing yet: its manifest needs `[telemetry]` with `metrics = \"{}\"`",
            system.name,
            prometheus::DEFAULT
        ),
        _ => {}
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<(), Failure> {
    Ok(fs::write(path, content).with_context(|| format!("failed to write {}", path.display()))?)
}

/// The name of a system, for files and titles.
fn name(system: &System) -> String {
    system.name.to_string()
}
