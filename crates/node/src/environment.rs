//! What an instance is told by its environment, beyond what its unit declares.

use std::{collections::BTreeMap, net::SocketAddr};

use madang_model::{InstanceId, System, Unit, UnitName};
use madang_supervisor::{Environment, InstanceRef};

use crate::tokens::{Bearer, Tokens};

/// The environment of instances, each from the system of which its release was made.
pub(crate) struct InstanceEnvironment {
    pub(crate) tokens: Tokens,
    pub(crate) service_api: SocketAddr,
}

impl Environment for InstanceEnvironment {
    fn for_instance(&self, instance: &InstanceRef) -> Vec<(String, String)> {
        let token = self.tokens.issue(&instance.unit, &instance.id);
        let attributes = format!("service.instance.id={},service.version={}", instance.id, instance.release);
        let mut env = vec![
            ("MADANG_URL".to_owned(), format!("http://{}", self.service_api)),
            ("MADANG_TOKEN".to_owned(), token),
            ("OTEL_SERVICE_NAME".to_owned(), instance.unit.to_string()),
            ("OTEL_RESOURCE_ATTRIBUTES".to_owned(), attributes),
        ];
        let system = &*instance.system;
        let Some(unit) = system.units.get(&instance.unit) else { return env };
        for service in unit.services.iter().filter_map(|name| system.services.get(name)) {
            let Some(database) = &service.database else { continue };
            let variable = match unit.services.len() {
                1 => "DATABASE_URL".to_owned(),
                _ => format!("{}_DATABASE_URL", service.name.env_prefix()),
            };
            env.push((variable, database.url()));
        }
        env.extend(callees(system, unit));
        env
    }

    fn instance_of(&self, environment: &[(String, String)]) -> Option<(UnitName, InstanceId)> {
        bearer(&self.tokens, environment)
    }
}

/// Whose instance a process with this environment is: by its token, which nobody else can make.
pub(crate) fn bearer(tokens: &Tokens, environment: &[(String, String)]) -> Option<(UnitName, InstanceId)> {
    let (_, token) = environment.iter().find(|(name, _)| name == "MADANG_TOKEN")?;
    match tokens.check(token)? {
        Bearer::Instance { unit, instance } => Some((unit, instance)),
        // Others run it.
        Bearer::Service(_) => None,
    }
}

/// Where the services are that a unit declares calls to, for programs that do not ask the service API: under both
/// names that such programs look for.
fn callees(system: &System, unit: &Unit) -> BTreeMap<String, String> {
    let callers = unit.services.iter().filter_map(|name| system.services.get(name));
    let callees = callers.flat_map(|caller| caller.calls.keys()).filter_map(|name| system.services.get(name));
    callees
        .filter_map(|callee| Some((&callee.name, format!("http://{}", system.lasting_address(callee)?))))
        .flat_map(|(name, url)| {
            [(format!("{}_URL", name.env_prefix()), url.clone()), (format!("services__{name}__http__0"), url)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_where_the_services_are_that_it_declares() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = r#"
            services.orders = { run = "orders", calls = { gift-cards = {}, mail = {}, users = {} } }
            services.gift-cards = { run = "cards", listen = 3005 }
            services.users = { run = "users", port = 3001 }
            services.mail = { run = "mail" }
            services.payments = { run = "payments", listen = 3006 }
        "#;
        std::fs::write(folder.path().join("madang.toml"), manifest).unwrap();
        let system = madang_model::manifest::load(folder.path(), &|_| None).unwrap().system;
        let told = callees(&system, &system.units["orders"]);
        let expected = [
            ("GIFT_CARDS_URL", "http://127.0.0.1:3005"),
            ("USERS_URL", "http://127.0.0.1:3001"),
            ("services__gift-cards__http__0", "http://127.0.0.1:3005"),
            ("services__users__http__0", "http://127.0.0.1:3001"),
        ];
        assert!(told.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{told:?}");
        assert!(callees(&system, &system.units["users"]).is_empty());
    }
}
