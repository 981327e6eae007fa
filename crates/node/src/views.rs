//! A node and what runs on it, as the APIs show it.

use std::{io, path::Path, sync::PoisonError};

use madang_model::{Service, System, UnitName};
use madang_telemetry::forward::Forward;
use madang_wire::admin::{
    EnvironmentView, HealthView, InstanceView, RouteView, ServiceView, SystemView, TokenView,
};

use crate::{
    by_hand::{self, HandEnvironment},
    join,
    node::{Shared, now},
};

impl Shared {
    pub(crate) fn system_view(&self) -> SystemView {
        let system = self.system.borrow().clone();
        let stats = self.gateway.stats();
        SystemView {
            name: system.name.to_string(),
            manifest: self.manifest.display().to_string(),
            isolated: self.place.isolated().map(str::to_owned),
            gateway: format!("{}://{}", scheme(&system), system.gateway.listen),
            authority: self.certificates.authority().map(|path| path.display().to_string()),
            client_authorities: client_authorities(&system).map(|path| path.display().to_string()),
            dashboard: self.dashboard.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            ready: *self.supervisor.ready().borrow(),
            manifest_error: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            degraded: self.troubles(),
            forward: self.forward.as_ref().map(Forward::view),
            requests: stats.requests,
            records_dropped: stats.records_dropped + self.inbox.dropped(),
        }
    }

    pub(crate) fn service_view(&self, name: &str) -> Option<ServiceView> {
        self.service_views().into_iter().find(|view| view.name == name)
    }

    /// Every service with all that is known of it.
    pub(crate) fn service_views(&self) -> Vec<ServiceView> {
        let system = self.system.borrow().clone();
        let (routes, instances, health) = (self.gateway.routes(), self.instances(), self.directory.health());
        let views = system
            .services
            .values()
            .map(|service| service_view(service, &system, &routes, &instances, &health));
        views.collect()
    }

    /// Every instance, and every unit that has none yet; then those that joined, and those elsewhere.
    pub(crate) fn instances(&self) -> Vec<InstanceView> {
        let mut instances = self.supervisor.instances();
        instances.extend(join::views(self.switchboard.registry(), &self.system.borrow()));
        instances.extend(self.outside.views());
        self.mark_ejected(&mut instances);
        instances
    }

    /// Says which instances' answers keep them out of use.
    fn mark_ejected(&self, instances: &mut [InstanceView]) {
        let now = now();
        for health in self.directory.health() {
            for answers in health.instances {
                let Some(until) = answers.ejected_until else { continue };
                if let Some(view) = instances.iter_mut().find(|view| view.name == answers.instance) {
                    view.health = match until.saturating_sub(now).div_ceil(1000) {
                        0 => format!("{} fails: next request tries it", health.service),
                        seconds => format!("{} fails: out of use for {seconds} s", health.service),
                    };
                }
            }
        }
    }

    /// What a program that others start needs to join a service, if there is such a service.
    pub(crate) fn token(&self, name: &str) -> Option<TokenView> {
        let system = self.system.borrow();
        let (service, _) = system.services.get_key_value(name)?;
        Some(TokenView {
            service: service.to_string(),
            url: format!("http://{}", self.service_api),
            token: self.tokens.issue_for(service),
            principal_keys: self.identity.verifying_keys(),
        })
    }

    /// How a unit is run by hand; none if it cannot be said.
    pub(crate) async fn environment(&self, unit: &UnitName) -> io::Result<Option<EnvironmentView>> {
        let system = self.system.borrow().clone();
        let kept = self.hands.get(unit).copied();
        let port = match kept {
            Some(port) => port,
            None => by_hand::port(unit, &self.ports, &self.tokens, &system).await?,
        };
        Ok(HandEnvironment(&self.told).of(&system, unit, port).map(|told| EnvironmentView {
            secrets: (!told.sealed.is_empty()).then(|| system.secrets.display().to_string()),
            sealed: told.sealed,
            unit: unit.to_string(),
            folder: told.folder.display().to_string(),
            run: told.run,
            by_hand: kept.is_some(),
            variables: told.variables,
        }))
    }
}

/// The file with the authorities of clients, if the gateway lets nobody in without a certificate that they sign.
pub(crate) fn client_authorities(system: &System) -> Option<&Path> {
    let clients = system.gateway.tls.as_ref()?.clients.as_ref()?;
    clients.required.then_some(&*clients.authorities)
}

/// How the gateway is spoken to.
fn scheme(system: &System) -> &'static str {
    if system.gateway.tls.is_some() { "https" } else { "http" }
}

/// All that is known of a service.
fn service_view(
    service: &Service,
    system: &System,
    routes: &[RouteView],
    instances: &[InstanceView],
    health: &[HealthView],
) -> ServiceView {
    let name = service.name.as_str();
    let unit = service.unit().and_then(|unit| system.units.get(unit));
    ServiceView {
        name: service.name.to_string(),
        owner: service.owner.clone(),
        domain: service.domain.as_ref().map(ToString::to_string),
        url: service.url().map(ToString::to_string),
        unit: unit.map(|unit| unit.name.to_string()),
        run: unit.map(|unit| unit.run.clone()),
        folder: unit.map(|unit| unit.folder.display().to_string()),
        listen: service.listen.map(|address| format!("http://{address}")),
        protocol: service.protocol.as_str().to_owned(),
        calls: service.calls.keys().map(ToString::to_string).collect(),
        database: service.database.as_ref().map(|database| without_password(&database.url())),
        routes: routes
            .iter()
            .filter(|route| route.to.iter().any(|target| target.service == name))
            .cloned()
            .collect(),
        instances: instances
            .iter()
            .filter(|view| view.services.iter().any(|service| service == name))
            .cloned()
            .collect(),
        health: health.iter().find(|health| health.service == name).cloned().unwrap_or_default(),
    }
}

/// `scheme://user:password@host/…` without the password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
        Some((user, password)) => {
            format!("{scheme}://{user}:…{}", &rest[user.len() + 1 + password.len()..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password() {
        for (url, shown) in [
            ("postgres://shop:s3cret@db:5432/orders", "postgres://shop:…@db:5432/orders"),
            ("postgres://shop:p@ss:w@db/orders", "postgres://shop:…@db/orders"),
            ("postgres://shop@db/orders", "postgres://shop@db/orders"),
            ("postgres://db/orders?x=a:b@c", "postgres://db/orders?x=a:b@c"),
            ("sqlite:/data/orders.db", "sqlite:/data/orders.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
