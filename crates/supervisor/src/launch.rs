//! What an instance is started with: its command, and everything that its environment tells it.
//!
//! Later ones win: the node's own environment without its `MADANG_*` and `PORT`; what the [`Environment`]
//! gives; `PORT`; the unit's `env`; and who it is, which nobody can change, as it is found by it.
//!
//! [`Environment`]: crate::Environment

use std::process::Command;

use crate::{
    InstanceRef, command,
    spec::{self, Spec},
};

/// The command of an instance, with `${self.*}` resolved. Where its output goes is not set yet.
pub(crate) fn command(spec: &Spec, instance: &InstanceRef, told: Vec<(String, String)>) -> Command {
    let InstanceRef { id, release, port, .. } = instance;
    let unit = &spec.unit;
    let port = port.map(|port| port.to_string());
    let values = [
        ("port", port.as_deref().unwrap_or_default()),
        ("unit", unit.name.as_str()),
        ("service", spec.first_service()),
        ("instance", &id.0),
        ("release", &release.0),
    ];
    let mut command = command::command(&spec::resolve(&unit.run, &values), &unit.folder);
    command::without_ours(&mut command, std::env::vars_os().map(|(name, _)| name));
    command.envs(told);
    if let Some(port) = &port {
        command.env("PORT", port);
    }
    command.envs(unit.env.iter().map(|(name, value)| (name, spec::resolve(value, &values))));
    command.env("MADANG_SERVICE", spec.first_service()).env("MADANG_UNIT", unit.name.as_str());
    command.env("MADANG_INSTANCE", &*id.0).env("MADANG_RELEASE", &*release.0);
    command
}
