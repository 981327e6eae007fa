//! What an instance is started with: its command, and everything that its environment tells it.
//!
//! Later ones win: the node's own environment without its `MADANG_*` and `PORT`; what the [`Environment`]
//! gives; `PORT`; the unit's `env`; and who it is, which nobody can change, as it is found by it.

use std::{collections::BTreeMap, process::Command};

use madang_model::manifest::{NoValue, Placeholder, all_but_secrets, placeholders};

use crate::{Environment, InstanceRef, command, spec::Spec};

/// The command of an instance, with every placeholder resolved. Where its output goes is not set yet.
pub(crate) fn command(
    spec: &Spec,
    instance: &InstanceRef,
    told: Vec<(String, String)>,
    environment: &dyn Environment,
) -> Result<Command, NoValue> {
    let value = |placeholder: &Placeholder| value(spec, instance, environment, placeholder);
    let run = placeholders(&spec.unit.run, value)?;
    let mut variables = before(instance, told);
    for (name, text) in &spec.unit.env {
        variables.insert(name.clone(), placeholders(text, value)?);
    }
    variables.extend(identity(spec, instance));
    let mut command = command::command(&run, &spec.unit.folder);
    command::without_ours(&mut command, std::env::vars_os().map(|(name, _)| name));
    command.envs(variables);
    Ok(command)
}

/// What an instance would be started with, for whoever does it instead: everything but the secrets.
pub(crate) struct Told {
    /// The command.
    pub(crate) run: String,
    /// What its environment tells it, beyond what it inherits.
    pub(crate) variables: BTreeMap<String, String>,
    /// Those variables in which the secrets are still to be filled in.
    pub(crate) sealed: BTreeMap<String, String>,
}

/// What it runs and what its environment tells it.
pub(crate) fn told(
    spec: &Spec,
    instance: &InstanceRef,
    told: Vec<(String, String)>,
    environment: &dyn Environment,
) -> Result<Told, NoValue> {
    let value = |placeholder: &Placeholder| value(spec, instance, environment, placeholder);
    let run = placeholders(&spec.unit.run, value)?;
    let (mut variables, mut sealed) = (before(instance, told), BTreeMap::new());
    for (name, text) in &spec.unit.env {
        match all_but_secrets(text, value)? {
            Some(text) => {
                variables.remove(name);
                sealed.insert(name.clone(), text);
            }
            None => {
                variables.insert(name.clone(), placeholders(text, value)?);
            }
        }
    }
    for (name, value) in identity(spec, instance) {
        sealed.remove(&name);
        variables.insert(name, value);
    }
    Ok(Told { run, variables, sealed })
}

/// What stands for a placeholder, or why nothing does.
fn value(
    spec: &Spec,
    instance: &InstanceRef,
    environment: &dyn Environment,
    placeholder: &Placeholder,
) -> Result<String, String> {
    Ok(match placeholder {
        Placeholder::Own("port") => instance.port.map(|port| port.to_string()).unwrap_or_default(),
        Placeholder::Own("unit") => spec.unit.name.to_string(),
        Placeholder::Own("service") => spec.first_service().to_owned(),
        Placeholder::Own("instance") => instance.id.to_string(),
        Placeholder::Own("release") => instance.release.to_string(),
        Placeholder::Own(_) => return Err("an instance knows nothing of the kind".to_owned()),
        Placeholder::Url(service) => environment
            .url(instance, service)
            .ok_or_else(|| format!("{} does not call {service}", spec.unit.name))?,
        Placeholder::Secret(name) => environment.secret(instance, name)?,
    })
}

/// What the unit's own `env` wins over.
fn before(instance: &InstanceRef, told: Vec<(String, String)>) -> BTreeMap<String, String> {
    let port = instance.port.map(|port| ("PORT".to_owned(), port.to_string()));
    told.into_iter().chain(port).collect()
}

/// Who it is.
fn identity(spec: &Spec, instance: &InstanceRef) -> [(String, String); 4] {
    [
        ("MADANG_SERVICE", spec.first_service()),
        ("MADANG_UNIT", spec.unit.name.as_str()),
        ("MADANG_INSTANCE", &*instance.id.0),
        ("MADANG_RELEASE", &*instance.release.0),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}
