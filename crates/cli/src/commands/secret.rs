//! `madang secret`: what programs are to know and nobody else.

use std::{
    io::{self, IsTerminal, Read},
    path::Path,
};

use anyhow::{Context, anyhow};
use madang_model::{System, manifest};
use madang_node::secrets::{Keys, LONGEST, SecretError, Secrets};
use serde::Serialize;

use crate::{
    args::{Secret, SetSecret},
    failure::Failure,
    locate::Location,
    manifest::load,
    output::Output,
    table::{Cell, Table},
};

/// A secret that is kept, by its name.
#[derive(Serialize)]
struct Listed {
    name: String,
    units: Vec<String>,
}

/// Reads or writes the file of a system's secrets. No node has to run.
pub fn run(location: &Location, output: &Output, what: &Secret) -> Result<(), Failure> {
    let manifest = manifest::find(location.given()).map_err(Failure::Manifest)?;
    let root = manifest.parent().unwrap_or(Path::new("/"));
    let secrets = Secrets::at(&manifest::secrets(root, location.environment()), Keys::of_process());
    match what {
        Secret::Set(set) => keep(&secrets, location, set),
        Secret::List => list(&secrets, location, output),
        Secret::Rm { name } => remove(&secrets, location, name),
        Secret::Key { show, new } => key(&secrets, output, *show, *new),
    }
}

fn keep(secrets: &Secrets, location: &Location, set: &SetSecret) -> Result<(), Failure> {
    let value = match &set.from {
        Some(file) => {
            let read = std::fs::File::open(file).and_then(read);
            read.with_context(|| format!("failed to read {}", file.display()))?
        }
        None if io::stdin().is_terminal() => rpassword::prompt_password(format!("{}: ", set.name))
            .context("failed to read from the terminal")?,
        None => one_line(read(io::stdin()).context("failed to read the value from stdin")?),
    };
    let made = secrets.set(&set.name, &value).map_err(failure)?;
    eprintln!("{} is sealed in {}", set.name, secrets.file().display());
    if let Some(key) = made {
        eprintln!(
            "its key is in {}: keep a copy where you keep passwords, and out of the code; without it nobody can open {} \
             any more",
            key.display(),
            secrets.file().display()
        );
    }
    for unit in Wanted::of(location).by(&set.name) {
        eprintln!("{unit} is told at its next start: `{}`", location.command_with("restart", &unit));
    }
    Ok(())
}

/// A text of bounded length.
fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(LONGEST as u64 + 2).read_to_string(&mut text)?;
    Ok(text)
}

/// What a line holds: `echo` ends one that is not meant.
fn one_line(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn list(secrets: &Secrets, location: &Location, output: &Output) -> Result<(), Failure> {
    let names = secrets.names().map_err(failure)?.into_iter();
    let wanted = Wanted::of(location);
    let listed: Vec<Listed> = names.map(|name| Listed { units: wanted.by(&name), name }).collect();
    if output.is_json() {
        return output.json(&listed);
    }
    let mut table = Table::new(&["NAME", "UNITS"]);
    for secret in &listed {
        table.row([Cell::new(&secret.name), Cell::new(secret.units.join(" "))]);
    }
    output.table(&table)
}

fn remove(secrets: &Secrets, location: &Location, name: &str) -> Result<(), Failure> {
    // Without it the manifest is refused.
    let wanting = Wanted::of(location).by(name);
    if !secrets.remove(name).map_err(failure)? {
        let unknown = SecretError::Unknown { name: name.to_owned(), file: secrets.file().to_owned() };
        return Err(failure(unknown));
    }
    eprintln!("{name} is no longer in {}", secrets.file().display());
    for unit in wanting {
        eprintln!("note: {unit} asks for it, and does not start any more");
    }
    Ok(())
}

fn key(secrets: &Secrets, output: &Output, show: bool, new: bool) -> Result<(), Failure> {
    if new {
        let path = secrets.rekey().map_err(failure)?;
        eprintln!("{} is sealed with a new key, which is in {}", secrets.file().display(), path.display());
        eprintln!(
            "whoever has the old one can still open what was sealed with it: change the secrets themselves as well"
        );
    }
    let none = || Failure::message(format!("nothing is sealed in {}", secrets.file().display()));
    let key = secrets.key().map_err(failure)?.ok_or_else(none)?;
    output.line(&if show { key.to_string() } else { key.id() })
}

/// What programs ask for, as far as the manifest can be read.
struct Wanted(Option<System>);

impl Wanted {
    fn of(location: &Location) -> Self {
        Self(load(location).ok().map(|loaded| loaded.system))
    }

    /// The units that are told a secret.
    fn by(&self, name: &str) -> Vec<String> {
        let wants = |text: &String| {
            manifest::placeholders_in(text).any(|(_, one)| one == manifest::Placeholder::Secret(name))
        };
        let units = self.0.iter().flat_map(|system| system.units.values());
        units.filter(|unit| unit.env.values().any(wants)).map(|unit| unit.name.to_string()).collect()
    }
}

fn failure(error: SecretError) -> Failure {
    Failure::Failed(anyhow!(error))
}
