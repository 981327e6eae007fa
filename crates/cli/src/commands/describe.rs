//! `madang describe`: all that is known of one service.

use madang_model::ServiceName;
use madang_wire::admin::{AnswersView, BreakerState, BreakerView, InstanceView, LimitView, ServiceView};

use super::{ps, routes};
use crate::{
    client::Client,
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
    units,
};

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
    let health = &view.health;
    if !health.breakers.is_empty() {
        output.text("\n")?;
        output.table(&breakers(&health.breakers, units::now()))?;
    }
    if !health.limits.is_empty() {
        output.text("\n")?;
        output.table(&limits(&health.limits))?;
    }
    if health.instances.iter().any(|it| it.answers > 0 || it.ejected_until.is_some()) {
        output.text("\n")?;
        output.table(&answers(&health.instances, units::now()))?;
    }
    view.instances.iter().try_for_each(|instance| print_reason(instance, output))
}

fn properties(view: &ServiceView) -> Vec<(&'static str, String)> {
    let calls = (!view.calls.is_empty()).then(|| view.calls.join(", "));
    let all = [
        ("service", Some(view.name.clone())),
        ("owner", view.owner.clone()),
        ("domain", view.domain.clone()),
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

/// What the breakers do, and why.
fn breakers(breakers: &[BreakerView], now: u64) -> Table {
    let mut table =
        Table::new(&["BREAKER", "STATE", "SINCE", "NEXT TRY", "ANSWERS", "FAILED", "SLOW", "IN A ROW"]);
    for breaker in breakers {
        let (state, paint) = match breaker.state {
            BreakerState::Closed => ("closed", Paint::Good),
            BreakerState::Open => ("open", Paint::Bad),
            BreakerState::HalfOpen => ("half open", Paint::Busy),
        };
        table.row([
            Cell::new(breaker.origin.as_deref().unwrap_or("all callers")),
            Cell::new(state).paint(paint),
            Cell::new(units::elapsed(now.saturating_sub(breaker.since))),
            Cell::maybe(breaker.until.map(|until| units::elapsed(until.saturating_sub(now)))),
            Cell::new(breaker.answers.to_string()),
            Cell::new(breaker.failed.to_string()),
            Cell::new(breaker.slow.to_string()),
            Cell::new(breaker.failures_in_a_row.to_string()),
        ]);
    }
    table
}

/// How many calls are made at once, and what was refused.
fn limits(limits: &[LimitView]) -> Table {
    let mut table = Table::new(&["CALLS AT ONCE", "LIMIT", "IN USE", "QUEUED", "REFUSED"]);
    for limit in limits {
        let refused = [
            (limit.shed_best_effort, "best effort"),
            (limit.shed_normal, "normal"),
            (limit.shed_critical, "critical"),
        ];
        let refused: Vec<_> = refused
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, priority)| format!("{count} {priority}"))
            .collect();
        let full = limit.in_use >= limit.limit;
        table.row([
            Cell::new(limit.origin.as_deref().unwrap_or("all callers")),
            Cell::new(limit.limit.to_string()),
            Cell::new(limit.in_use.to_string()).paint(if full { Paint::Busy } else { Paint::Good }),
            Cell::new(limit.queued.to_string()),
            Cell::maybe((!refused.is_empty()).then(|| refused.join(", "))),
        ]);
    }
    table
}

/// How the instances answered in the last ten seconds.
fn answers(instances: &[AnswersView], now: u64) -> Table {
    let mut table = Table::new(&["INSTANCE", "ANSWERS", "FAILED", "SLOW", "IN A ROW", "OUT OF USE"]);
    for instance in instances {
        let left = instance.ejected_until.map(|until| units::elapsed(until.saturating_sub(now)));
        table.row([
            Cell::new(&instance.instance),
            Cell::new(instance.answers.to_string()),
            Cell::new(instance.failed.to_string()),
            Cell::new(instance.slow.to_string()),
            Cell::new(instance.failures_in_a_row.to_string()),
            left.map_or(Cell::new("no"), |left| Cell::new(format!("for {left}")).paint(Paint::Bad)),
        ]);
    }
    table
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
