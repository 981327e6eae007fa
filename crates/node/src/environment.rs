//! What an instance is told by its environment, beyond what its unit declares.

use std::{collections::BTreeMap, net::SocketAddr};

use madang_model::{InstanceId, ServiceName, UnitName};
use madang_supervisor::{Environment, InstanceRef};
use madang_wire::principal;

use crate::{
    doors::Doors,
    holder,
    node::with_causes,
    secrets::{Keys, Secrets},
    tokens::{Bearer, Tokens},
};

/// The environment of instances, each from the system of which its release was made.
pub(crate) struct InstanceEnvironment {
    pub(crate) tokens: Tokens,
    pub(crate) service_api: SocketAddr,
    pub(crate) doors: Doors,
    /// By which it verifies for whom a request is made.
    pub(crate) principal_keys: String,
}

impl InstanceEnvironment {
    /// What an instance is told that speaks to the node with this token.
    pub(crate) fn with_token(&self, instance: &InstanceRef, token: &str) -> Vec<(String, String)> {
        let url = format!("http://{}", self.service_api);
        let attributes = format!("service.instance.id={},service.version={}", instance.id, instance.release);
        let mut env = vec![
            ("MADANG_URL".to_owned(), url.clone()),
            ("MADANG_TOKEN".to_owned(), token.to_owned()),
            (principal::KEYS.to_owned(), self.principal_keys.clone()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), url),
            // A header's value is percent-encoded there; no token has what would have to be but the blank.
            ("OTEL_EXPORTER_OTLP_HEADERS".to_owned(), format!("authorization=Bearer%20{token}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "http/protobuf".to_owned()),
            ("OTEL_RESOURCE_ATTRIBUTES".to_owned(), attributes),
        ];
        let system = &*instance.system;
        let Some(unit) = system.units.get(&instance.unit) else { return env };
        let mut services = unit.services.iter();
        let name = match (services.next(), services.next()) {
            (Some(only), None) => only.to_string(),
            _ => unit.name.to_string(),
        };
        env.push(("OTEL_SERVICE_NAME".to_owned(), name));
        for service in unit.services.iter().filter_map(|name| system.services.get(name)) {
            let Some(database) = &service.database else { continue };
            let variable = match unit.services.len() {
                1 => "DATABASE_URL".to_owned(),
                _ => format!("{}_DATABASE_URL", service.name.env_prefix()),
            };
            env.push((variable, database.url()));
        }
        env.extend(callees(&self.doors.of(system, unit)));
        env
    }
}

impl Environment for InstanceEnvironment {
    fn for_instance(&self, instance: &InstanceRef) -> Vec<(String, String)> {
        self.with_token(instance, &self.tokens.issue(&instance.unit, &instance.id))
    }

    fn url(&self, instance: &InstanceRef, service: &ServiceName) -> Option<String> {
        let system = &*instance.system;
        let doors = self.doors.of(system, system.units.get(&instance.unit)?);
        doors.get(service).map(url)
    }

    fn secret(&self, instance: &InstanceRef, name: &str) -> Result<String, String> {
        let secrets = Secrets::at(&instance.system.secrets, Keys::of_process());
        secrets.reveal(name).map_err(|error| with_causes(&error))
    }

    fn known(&self, pid: i32) -> Option<String> {
        holder::known(pid)
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
        Bearer::Service(_) | Bearer::Unit(_) => None,
    }
}

/// The doors of a unit, under both names that programs without the SDK look for.
fn callees(doors: &BTreeMap<ServiceName, SocketAddr>) -> impl Iterator<Item = (String, String)> {
    doors.iter().flat_map(|(name, address)| {
        let url = url(address);
        [(format!("{}_URL", name.env_prefix()), url.clone()), (format!("services__{name}__http__0"), url)]
    })
}

fn url(door: &SocketAddr) -> String {
    format!("http://{door}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_its_doors_under_both_names() {
        let door = |name: &str, port: u16| (name.parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], port)));
        let told: Vec<_> = callees(&[door("gift-cards", 30005), door("users", 30001)].into()).collect();
        let expected = [
            ("GIFT_CARDS_URL", "http://127.0.0.1:30005"),
            ("services__gift-cards__http__0", "http://127.0.0.1:30005"),
            ("USERS_URL", "http://127.0.0.1:30001"),
            ("services__users__http__0", "http://127.0.0.1:30001"),
        ];
        assert!(told.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{told:?}");
    }
}
