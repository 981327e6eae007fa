//! `madang describe`: all that is known of one service.

use madang_model::ServiceName;
use madang_wire::admin::{InstanceView, ServiceView};

use super::{ps, routes};
use crate::{client::Client, failure::Failure, output::Output, style::Paint};

/// Shows a service.
pub async fn run(client: &Client, output: &Output, service: &ServiceName) -> Result<(), Failure> {
    let view: ServiceView = client.get(&format!("/v1/services/{service}")).await?;
    if output.is_json() {
        return output.json(&view);
    }
    for (key, value) in properties(&view) {
        let key = output.style().paint(Paint::Strong, &format!("{key:<9}")).into_owned();
        output.line(&format!("{key} {value}"))?;
    }
    if !view.routes.is_empty() {
        output.text("\n")?;
        output.table(&routes::table(&view.routes))?;
    }
    if !view.instances.is_empty() {
        output.text("\n")?;
        output.table(&ps::table(&view.instances))?;
    }
    view.instances.iter().try_for_each(|instance| print_reason(instance, output))
}

fn properties(view: &ServiceView) -> Vec<(&'static str, String)> {
    let calls = (!view.calls.is_empty()).then(|| view.calls.join(", "));
    let all = [
        ("service", Some(view.name.clone())),
        ("owner", view.owner.clone()),
        ("url", view.url.clone()),
        ("unit", view.unit.clone()),
        ("run", view.run.clone()),
        ("folder", view.folder.clone()),
        ("listen", view.listen.clone()),
        ("calls", calls),
        ("database", view.database.clone()),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// Why an instance is as it is, and where its output is.
fn print_reason(instance: &InstanceView, output: &Output) -> Result<(), Failure> {
    if let Some(reason) = &instance.reason {
        output.line(&format!("\n{}:", instance.name))?;
        for line in reason.lines() {
            output.line(&format!("  {line}"))?;
        }
    }
    match &instance.log {
        Some(log) => output.line(&format!("\n{} writes to {log}", instance.name)),
        None => Ok(()),
    }
}
