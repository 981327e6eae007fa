//! Where everything is, once it runs.

use std::collections::BTreeSet;

use madang_wire::{
    admin::{InstanceView, RouteView, ServiceView, State, SystemView},
    dashboard::LoginView,
};

use crate::{
    client::Client,
    commands::routes::targets,
    failure::Failure,
    locate::Location,
    style::{Paint, Style},
    units::{elapsed, now},
};

/// The gateway, the services, the routes and the logs, a line each.
pub async fn lines(client: &Client, location: &Location, style: Style) -> Result<Vec<String>, Failure> {
    let system: SystemView = client.get("/v1/system").await?;
    let instances: Vec<InstanceView> = client.get("/v1/instances").await?;
    let routes: Vec<RouteView> = client.get("/v1/routes").await?;
    let names: BTreeSet<_> = instances.iter().flat_map(|instance| &instance.services).collect();
    let mut services = Vec::new();
    for name in names {
        services.push(client.get(&format!("/v1/services/{name}")).await?);
    }
    let took = elapsed(now().saturating_sub(system.started_at));
    let state = match system.ready {
        true => style.paint(Paint::Good, "ready"),
        false => style.paint(Paint::Busy, "not quite ready"),
    };
    let mut lines = vec![String::new(), format!("{} is {state} after {took}", system.name)];
    if let Some(name) = location.isolated() {
        lines.push(format!("  {:<9} {name} (`{}` shows it)", "isolated", location.command("ps")));
    }
    if system.dashboard.is_some() {
        let login: LoginView = client.get("/v1/login").await?;
        lines.push(format!("  {:<9} {}", "dashboard", login.login));
    }
    lines.extend(render(&system.gateway, &services, &routes, style));
    if let Some(authority) = &system.authority {
        // After the gateway's own line, since it is about it.
        let trust = format!("curl --cacert {authority} {}", system.gateway);
        let at =
            lines.iter().position(|line| line.contains(&system.gateway)).map_or(lines.len(), |at| at + 1);
        lines.insert(at, format!("  {:<9} {}", "", style.paint(Paint::Faint, &trust)));
    }
    lines.extend(left_out(&instances));
    lines.extend(by_hand(&instances, location));
    let logs = location.logs();
    let hint = style
        .paint(Paint::Faint, &format!("({})", location.command("logs -f -C").trim_end_matches(" -C")))
        .into_owned();
    lines.push(format!("  {:<9} {} {hint}", "logs", logs.display()));
    Ok(lines)
}

fn render(gateway: &str, services: &[ServiceView], routes: &[RouteView], style: Style) -> Vec<String> {
    let mut lines = vec![format!("  {:<9} {}", "gateway", style.paint(Paint::Strong, gateway))];
    let addresses = services.iter().filter_map(|service| Some((service, address(service)?)));
    let addresses = addresses.map(|(service, address)| format!("{:<16} {address}", service.name));
    let shown = routes.iter().map(|route| {
        let methods =
            if route.methods.is_empty() { String::new() } else { format!("{} ", route.methods.join(",")) };
        let host = route.host.as_deref().unwrap_or_default();
        format!("{methods}{host}{} → {}", route.path, targets(&route.to))
    });
    for (title, items) in [("services", addresses.collect::<Vec<_>>()), ("routes", shown.collect())] {
        for (index, item) in items.iter().enumerate() {
            lines.push(format!("  {:<9} {item}", if index == 0 { title } else { "" }));
        }
    }
    lines
}

/// The units that are not started on this machine, and why.
fn left_out(instances: &[InstanceView]) -> impl Iterator<Item = String> {
    let left = instances.iter().filter(|instance| instance.state == State::LeftOut).enumerate();
    left.map(|(index, unit)| {
        format!("  {:<9} {:<16} {}", if index == 0 { "left out" } else { "" }, unit.name, unit.health)
    })
}

/// The units that a person runs, and how.
fn by_hand(instances: &[InstanceView], location: &Location) -> impl Iterator<Item = String> {
    let awaited = instances.iter().filter(|instance| instance.by_hand).enumerate();
    awaited.map(|(index, instance)| {
        let title = if index == 0 { "by hand" } else { "" };
        let env = location.command_with("env", &format!("{} -- …", instance.unit));
        format!("  {title:<9} {:<16} start it with `{env}`", instance.unit)
    })
}

/// Where a service is reached: at Madang's own listener for it, or else at its instances.
fn address(service: &ServiceView) -> Option<String> {
    if let Some(listen) = &service.listen {
        return Some(listen.clone());
    }
    let urls: Vec<_> = service.instances.iter().filter_map(|instance| instance.url.as_deref()).collect();
    (!urls.is_empty()).then(|| urls.join(", "))
}
