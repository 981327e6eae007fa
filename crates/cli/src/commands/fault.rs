//! `madang fault`: calls that fail on purpose.

use std::time::Duration;

use madang_model::{format_duration, policy::FaultEffect};
use madang_wire::admin::{FaultSpec, FaultView};

use crate::{
    args::{AddFault, Effect, Fault},
    client::{Client, segment},
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
    units,
};

/// Adds, lists or removes faults.
pub async fn run(client: &Client, output: &Output, fault: Fault) -> Result<(), Failure> {
    match fault {
        Fault::Add(add) => {
            let added: FaultView = client.put_in("/v1/faults", &spec(add)).await?;
            if output.is_json() {
                return output.json(&added);
            }
            let lasts = format_duration(Duration::from_millis(added.until.saturating_sub(added.since)));
            let id = &added.id;
            output.line(&format!("{id} is in force for {lasts}; `madang fault rm {id}` ends it sooner"))
        }
        Fault::List => {
            let faults: Vec<FaultView> = client.get("/v1/faults").await?;
            if output.is_json() {
                return output.json(&faults);
            }
            if faults.is_empty() {
                return output.line("no fault is in force");
            }
            output.table(&table(&faults, units::now()))
        }
        Fault::Rm(rm) => {
            let gone: Vec<FaultView> = match rm.id {
                Some(id) => vec![client.delete(&format!("/v1/faults/{}", segment(&id))).await?],
                None => client.delete("/v1/faults").await?,
            };
            if output.is_json() {
                return output.json(&gone);
            }
            gone.iter().try_for_each(|view| output.line(&format!("{} is removed", view.id)))
        }
    }
}

fn spec(add: AddFault) -> FaultSpec {
    let AddFault { caller, on, effect, percent, lasts } = add;
    FaultSpec {
        caller: caller.to_string(),
        callee: on.service.to_string(),
        method: on.method,
        path: on.path,
        effect: happens(&effect),
        percent,
        lasts: Some(format_duration(lasts)),
    }
}

/// One of them is given, as the command line sees to.
fn happens(effect: &Effect) -> FaultEffect {
    match *effect {
        Effect { delay: Some(time), .. } => FaultEffect::Delay(time),
        Effect { status: Some(status), .. } => FaultEffect::Status(status),
        Effect { hang: true, .. } => FaultEffect::Hang,
        Effect { lose_reply: true, .. } => FaultEffect::LoseReply,
        Effect { .. } => FaultEffect::Kill,
    }
}

fn table(faults: &[FaultView], now: u64) -> Table {
    let mut table = Table::new(&["ID", "CALLER", "ON", "EFFECT", "PERCENT", "ENDS IN", "BY"]);
    for view in faults {
        let on = [Some(&view.callee), view.method.as_ref(), view.path.as_ref()];
        let on: Vec<&str> = on.into_iter().flatten().map(String::as_str).collect();
        table.row([
            Cell::new(&view.id),
            Cell::new(&view.caller),
            Cell::new(on.join(" ")),
            Cell::new(view.effect.to_string()),
            Cell::new(view.percent.to_string()),
            Cell::new(units::elapsed(view.until.saturating_sub(now))),
            Cell::new(&view.by).paint(Paint::Faint),
        ]);
    }
    table
}
