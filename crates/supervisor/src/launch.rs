//! What an instance is started with: its command, and everything that its environment tells it.
//!
//! Later ones win: the node's own environment without its `MADANG_*` and `PORT`; what the [`Environment`]
//! gives; `PORT`; the unit's `env`; and who it is, which nobody can change, as it is found by it.

use std::{collections::BTreeMap, process::Command};

use madang_model::manifest::{Placeholder, UnknownPlaceholder, placeholders};

use crate::{Environment, InstanceRef, command, spec::Spec};

/// The command of an instance, with every placeholder resolved. Where its output goes is not set yet.
pub(crate) fn command(
    spec: &Spec,
    instance: &InstanceRef,
    told: Vec<(String, String)>,
    environment: &dyn Environment,
) -> Result<Command, UnknownPlaceholder> {
    let (run, variables) = self::told(spec, instance, told, environment)?;
    let mut command = command::command(&run, &spec.unit.folder);
    command::without_ours(&mut command, std::env::vars_os().map(|(name, _)| name));
    command.envs(variables);
    Ok(command)
}

/// What it runs and what its environment tells it, beyond what it inherits.
pub(crate) fn told(
    spec: &Spec,
    instance: &InstanceRef,
    told: Vec<(String, String)>,
    environment: &dyn Environment,
) -> Result<(String, BTreeMap<String, String>), UnknownPlaceholder> {
    let InstanceRef { id, release, port, .. } = instance;
    let unit = &spec.unit;
    let port = port.map(|port| port.to_string());
    let value = |placeholder: &Placeholder| match placeholder {
        Placeholder::Own("port") => Some(port.clone().unwrap_or_default()),
        Placeholder::Own("unit") => Some(unit.name.to_string()),
        Placeholder::Own("service") => Some(spec.first_service().to_owned()),
        Placeholder::Own("instance") => Some(id.to_string()),
        Placeholder::Own("release") => Some(release.to_string()),
        Placeholder::Own(_) => None,
        Placeholder::Url(service) => environment.url(instance, service),
    };
    let run = placeholders(&unit.run, value)?;
    let mut variables: BTreeMap<String, String> = told.into_iter().collect();
    variables.extend(port.clone().map(|port| ("PORT".to_owned(), port)));
    for (name, text) in &unit.env {
        variables.insert(name.clone(), placeholders(text, value)?);
    }
    variables.extend(
        [
            ("MADANG_SERVICE", spec.first_service()),
            ("MADANG_UNIT", unit.name.as_str()),
            ("MADANG_INSTANCE", &*id.0),
            ("MADANG_RELEASE", &*release.0),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Ok((run, variables))
}
