//! What an instance is started with: its command, and everything that its environment tells it.
//!
//! Later ones win: the node's own environment without its `MADANG_*` and `PORT`; what the [`Environment`]
//! gives; `PORT`; the unit's `env`; and who it is, which nobody can change, as it is found by it.

use std::process::Command;

use madang_model::manifest::{Placeholder, UnknownPlaceholder, placeholders};

use crate::{Environment, InstanceRef, command, spec::Spec};

/// The command of an instance, with every placeholder resolved. Where its output goes is not set yet.
pub(crate) fn command(
    spec: &Spec,
    instance: &InstanceRef,
    told: Vec<(String, String)>,
    environment: &dyn Environment,
) -> Result<Command, UnknownPlaceholder> {
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
    let mut command = command::command(&placeholders(&unit.run, value)?, &unit.folder);
    command::without_ours(&mut command, std::env::vars_os().map(|(name, _)| name));
    command.envs(told);
    if let Some(port) = &port {
        command.env("PORT", port);
    }
    for (name, text) in &unit.env {
        command.env(name, placeholders(text, value)?);
    }
    command.env("MADANG_SERVICE", spec.first_service()).env("MADANG_UNIT", unit.name.as_str());
    command.env("MADANG_INSTANCE", &*id.0).env("MADANG_RELEASE", &*release.0);
    Ok(command)
}
