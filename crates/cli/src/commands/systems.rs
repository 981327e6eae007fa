//! `madang systems`: what runs on this machine, from whichever folder.

use madang_wire::admin::SystemView;

use crate::{
    client::Client,
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
    units,
};

/// Lists the systems of this user that run.
pub async fn run(output: &Output) -> Result<(), Failure> {
    let mut systems: Vec<SystemView> = Vec::new();
    for socket in madang_node::socket::all() {
        match Client::at(socket).get("/v1/system").await {
            Ok(system) => systems.push(system),
            // A node that is gone may leave its socket, and one may go just now.
            Err(Failure::NotRunning { .. }) => {}
            Err(failure) => return Err(failure),
        }
    }
    systems.sort_by(|a, b| (&a.manifest, &a.isolated).cmp(&(&b.manifest, &b.isolated)));
    if output.is_json() { output.json(&systems) } else { output.table(&table(&systems, units::now())) }
}

fn table(systems: &[SystemView], now: u64) -> Table {
    let mut table = Table::new(&["SYSTEM", "ISOLATED", "STATE", "PID", "UP", "GATEWAY", "FOLDER"]);
    for system in systems {
        let (state, paint) = if system.ready { ("ready", Paint::Good) } else { ("not ready", Paint::Busy) };
        table.row([
            Cell::new(&system.name),
            Cell::maybe(system.isolated.as_ref()),
            Cell::new(state).paint(paint),
            Cell::new(system.pid.to_string()),
            Cell::new(units::elapsed(now.saturating_sub(system.started_at))),
            Cell::new(&system.gateway),
            Cell::new(system.folder().display().to_string()),
        ]);
    }
    table
}
