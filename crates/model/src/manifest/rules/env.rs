//! Services that share a process agree on its environment.

use std::collections::HashMap;

use crate::manifest::{
    error::{Code, Found, ManifestError},
    plan,
    raw::{RawService, RawSystem},
    source::Spot,
};

/// Two services of one unit give a variable two values, and the unit does not settle it.
pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    for unit in plan::units(raw).iter().filter(|unit| unit.placed) {
        let settled = |name: &str| unit.program.env.iter().any(|(own, _)| own == name);
        let mut first: HashMap<&str, (&RawService, &str, &Spot)> = HashMap::new();
        for service in &unit.services {
            for (name, at) in service.program.env.iter().filter(|(name, _)| !settled(name)) {
                let (other, value, spot) = *first.entry(name).or_insert((service, &at.value, &at.spot));
                if value == at.value {
                    continue;
                }
                let (one, two) = (&other.name.value, &service.name.value);
                found.push(
                    ManifestError::new(
                        Code::ENV_CONFLICT,
                        format!("{one} and {two} share a process but not the value of {name}"),
                    )
                    .at(&at.spot, format!("{two}'s"))
                    .also(spot, format!("{one}'s"))
                    .hint(format!(
                        "the process has one {name}: set it in `env` of [units.{}], which decides",
                        unit.name
                    )),
                );
            }
        }
    }
}
