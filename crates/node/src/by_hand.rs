//! The units that a person runs instead of the node: which they are, where they listen, and what they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use madang_model::{InstanceId, ServiceName, System, UnitName, nearest};
use madang_supervisor::{ByHand, Environment, InstanceRef, told_at};

use crate::{
    environment::InstanceEnvironment,
    ports::KeptPorts,
    tokens::{Bearer, Tokens},
};

/// Why units cannot be left to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExceptError {
    /// There is no such service or unit.
    #[error("{system} has no service or unit \"{name}\"{}", near.as_ref().map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default())]
    Unknown {
        /// The system.
        system: String,
        /// What was named.
        name: String,
        /// The nearest name that there is.
        near: Option<String>,
    },
    /// Madang does not run it anyway.
    #[error("\"{0}\" runs elsewhere: madang does not start it in any case")]
    Elsewhere(String),
}

/// The units of these names; a service's name is that of the unit that hosts it.
///
/// # Errors
/// If one is no name of a unit or service that runs here.
pub fn excepted(system: &System, names: &[String]) -> Result<BTreeSet<UnitName>, ExceptError> {
    let unit = |name: &String| {
        let named = system.units.get(name.as_str()).map(|unit| &unit.name);
        let service = system.services.get(name.as_str());
        match (named, service) {
            (Some(unit), _) => Ok(unit.clone()),
            (None, Some(service)) => {
                service.unit().cloned().ok_or_else(|| ExceptError::Elsewhere(name.clone()))
            }
            (None, None) => {
                let services = system.services.keys().map(ServiceName::as_str);
                let near = nearest(name, services.chain(system.units.keys().map(UnitName::as_str)));
                let near = near.map(str::to_owned);
                Err(ExceptError::Unknown { system: system.name.to_string(), name: name.clone(), near })
            }
        }
    };
    names.iter().map(unit).collect()
}

/// The port that a unit is told where it is run by hand: the same over restarts, as long as nobody else has it.
pub(crate) async fn port(
    unit: &UnitName,
    ports: &KeptPorts,
    tokens: &Tokens,
    system: &System,
) -> io::Result<u16> {
    let (tokens, bearer) = (tokens.clone(), Bearer::Unit(unit.clone()));
    let mine = move |port: u16| {
        let told = told_at(port);
        let token = told.iter().find(|(name, _)| name == "MADANG_TOKEN");
        token.and_then(|(_, token)| tokens.check(token)) == Some(bearer)
    };
    ports.reserved(&format!("by-hand/{unit}"), system, mine).await
}

/// The ports of several units.
pub(crate) async fn all_ports(
    units: BTreeSet<UnitName>,
    ports: &KeptPorts,
    tokens: &Tokens,
    system: &System,
) -> io::Result<BTreeMap<UnitName, u16>> {
    let mut all = BTreeMap::new();
    for unit in units {
        let port = port(&unit, ports, tokens, system).await?;
        all.insert(unit, port);
    }
    Ok(all)
}

/// What a unit is told that a person runs. As an instance would be, but for its token: that is the unit's, so that no
/// node ever takes its process for one of its own.
pub(crate) struct HandEnvironment<'a>(pub(crate) &'a InstanceEnvironment);

impl HandEnvironment<'_> {
    pub(crate) fn of(&self, system: &Arc<System>, unit: &UnitName, port: u16) -> Option<ByHand> {
        madang_supervisor::by_hand(system, unit, port, self)
    }
}

impl Environment for HandEnvironment<'_> {
    fn for_instance(&self, instance: &InstanceRef) -> Vec<(String, String)> {
        self.0.with_token(instance, &self.0.tokens.issue_for_unit(&instance.unit))
    }

    fn url(&self, instance: &InstanceRef, service: &ServiceName) -> Option<String> {
        self.0.url(instance, service)
    }

    fn secret(&self, _: &InstanceRef, name: &str) -> Result<String, String> {
        Err(format!("whoever runs it fills in {name}"))
    }

    fn instance_of(&self, environment: &[(String, String)]) -> Option<(UnitName, InstanceId)> {
        self.0.instance_of(environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_by_themselves_or_by_a_service_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = "[services.users]\n[services.cart]\n[services.orders]\nrun = 'o'\n[services.mail]\nurl = 'http://m'\n\
                        [services.pos]\nrun = false\n[units.core]\nservices = ['users', 'cart']\nrun = 'c'\n";
        std::fs::write(folder.path().join("madang.toml"), format!("[system]\nname = 'shop'\n{manifest}"))
            .unwrap();
        let system = madang_model::manifest::load(folder.path(), &|_| None).unwrap().system;
        let check = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let units = excepted(&system, &names).map_err(|error| error.to_string())?;
            Ok::<_, String>(units.iter().map(UnitName::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(check(&[]), Ok(String::new()));
        assert_eq!(check(&["cart", "orders", "core", "users"]), Ok("core orders".to_owned()));
        assert_eq!(
            check(&["orders", "oders"]),
            Err("shop has no service or unit \"oders\": did you mean \"orders\"?".to_owned())
        );
        assert_eq!(check(&["xyz"]), Err("shop has no service or unit \"xyz\"".to_owned()));
        for name in ["mail", "pos"] {
            let said = format!("\"{name}\" runs elsewhere: madang does not start it in any case");
            assert_eq!(check(&[name]), Err(said));
        }
    }
}
