//! What an instance is told by its environment, beyond what its unit declares.

use std::{net::SocketAddr, sync::Arc};

use madang_model::System;
use madang_supervisor::{Environment, InstanceRef};
use tokio::sync::watch;

use crate::tokens::Tokens;

/// The environment of instances, from the system in force when each one starts.
pub(crate) struct InstanceEnvironment {
    pub(crate) system: watch::Receiver<Arc<System>>,
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
        let system = self.system.borrow().clone();
        let Some(unit) = system.units.get(&instance.unit) else { return env };
        for service in unit.services.iter().filter_map(|name| system.services.get(name)) {
            let Some(database) = &service.database else { continue };
            let variable = match unit.services.len() {
                1 => "DATABASE_URL".to_owned(),
                _ => format!("{}_DATABASE_URL", service.name.env_prefix()),
            };
            env.push((variable, database.url()));
        }
        env
    }
}
