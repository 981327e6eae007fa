//! `madang check`: what is wrong with a manifest, or what it says.

use madang_model::manifest;
use miette::Diagnostic;
use serde_json::{Value, json};

use crate::{failure::Failure, locate::Location, output::Output, style::Paint};

/// Checks the manifest; a refused one is the command's failure.
pub fn run(location: &Location, output: &Output, schema: bool, explain: bool) -> Result<(), Failure> {
    if schema {
        return output.json(&manifest::schema());
    }
    let loaded = match crate::manifest::load(location) {
        Err(Failure::Manifest(errors)) if output.is_json() => {
            output.json(&problems(&errors))?;
            return Err(Failure::Manifest(errors));
        }
        loaded => loaded?,
    };
    if explain {
        return print_explained(&loaded, output);
    }
    let system = &loaded.system;
    if output.is_json() {
        return output.json(system);
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (services, units) = (count(system.services.len(), "service"), count(system.units.len(), "unit"));
    let (routes, files) = (count(system.routes.len(), "route"), count(system.files.len(), "file"));
    let well = output.style().paint(Paint::Good, "is well");
    output.line(&format!("{} {well}: {services} in {units}, {routes}, from {files}", system.name))?;
    madang_node::left_out(system)
        .iter()
        .try_for_each(|(unit, why)| output.line(&format!("{unit} would be left out on this machine: {why}")))
}

/// The problems for a script; people read them on stderr.
fn problems(errors: &manifest::Errors) -> Value {
    let problem = |error: &manifest::ManifestError| {
        let place = error.place();
        json!({
            "code": error.kind().id,
            "message": error.to_string(),
            "file": place.as_ref().map(|place| &place.file),
            "line": place.as_ref().map(|place| place.line),
            "help": error.help().map(|help| help.to_string()),
        })
    };
    errors.iter().map(problem).collect()
}

/// Aligned, so that the places can be read down a column.
fn print_explained(loaded: &manifest::Loaded, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&loaded.explain());
    }
    let values: Vec<_> = loaded
        .explain()
        .iter()
        .map(|value| (format!("{} = {}", value.key, value.value), &value.place))
        .collect();
    let width =
        values.iter().map(|(text, _)| text.chars().count()).filter(|width| *width < 80).max().unwrap_or(0);
    for (text, place) in values {
        let place = output.style().paint(Paint::Faint, &format!("# {place}")).into_owned();
        output.line(&format!("{text:<width$}  {place}"))?;
    }
    Ok(())
}
