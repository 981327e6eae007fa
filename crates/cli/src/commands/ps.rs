//! `madang ps`: the instances.

use madang_wire::admin::{ForwardView, InstanceView, State, SystemView};

use crate::{
    client::Client,
    failure::Failure,
    locate::Location,
    output::Output,
    style::{Paint, Style},
    table::{Cell, Table},
    units,
};

/// Lists the instances.
pub async fn run(location: &Location, output: &Output) -> Result<(), Failure> {
    let client = Client::new(location);
    let instances: Vec<InstanceView> = match client.get("/v1/instances").await {
        Err(failure @ Failure::NotRunning { .. }) => {
            let Some(left) = location.leftovers().await? else { return Err(failure) };
            return Err(Failure::Orphaned {
                place: location.shown(),
                count: left.count(),
                up: location.command("up"),
                down: location.command("down"),
            });
        }
        answered => answered?,
    };
    if output.is_json() {
        return output.json(&instances);
    }
    output.table(&table(&instances))?;
    let system: SystemView = client.get("/v1/system").await?;
    let troubles = [
        ("the manifest as edited is not in force:", system.manifest_error),
        ("degraded:", system.degraded),
        ("telemetry is not all forwarded:", system.forward.and_then(not_forwarded)),
    ];
    let style = Style::of(&std::io::stderr());
    for (head, reason) in troubles {
        if let Some(reason) = reason {
            eprintln!("{} {reason}", style.paint(Paint::Busy, head));
        }
    }
    Ok(())
}

/// What did not get to the back end, if anything did not.
fn not_forwarded(forward: ForwardView) -> Option<String> {
    let ForwardView { to, waiting, dropped, refused, refusal, trouble, .. } = forward;
    let counts =
        [(waiting, "wait"), (dropped, "dropped for want of room"), (refused, "refused or not taken in time")];
    if trouble.is_none() && dropped + refused == 0 {
        return None;
    }
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let mut said: Vec<String> = trouble.or(refusal).into_iter().collect();
    said.extend(counts);
    Some(format!("{to}: {}", said.join(", ")))
}

/// The instances as a table.
pub fn table(instances: &[InstanceView]) -> Table {
    let mut table =
        Table::new(&["NAME", "UNIT", "RELEASE", "STATE", "HEALTH", "RESTARTS", "PID", "MEM", "URL"]);
    for instance in instances {
        let (state, paint) = state(instance.state);
        table.row([
            Cell::new(&instance.name),
            Cell::new(&instance.unit),
            Cell::maybe(instance.release.as_ref()),
            Cell::new(state).paint(paint),
            Cell::new(&instance.health),
            Cell::new(instance.restarts.to_string()),
            Cell::maybe(instance.pid),
            Cell::maybe(instance.memory.map(units::bytes)),
            Cell::maybe(instance.url.as_ref()),
        ]);
    }
    table
}

fn state(state: State) -> (&'static str, Paint) {
    match state {
        State::Waiting => ("waiting", Paint::Busy),
        State::Building => ("building", Paint::Busy),
        State::Starting => ("starting", Paint::Busy),
        State::Ready => ("ready", Paint::Good),
        State::Backoff => ("backoff", Paint::Bad),
        State::Stopping => ("stopping", Paint::Busy),
        State::Failed => ("failed", Paint::Bad),
        State::LeftOut => ("left out", Paint::Busy),
        State::Stopped => ("stopped", Paint::Faint),
    }
}
