//! `madang policy`: what holds for calls, from the manifest alone.

use madang_model::{ExplainedLimit, ServiceName, System, nearest};

use crate::{
    failure::Failure,
    locate::Location,
    output::Output,
    style::Paint,
    table::{Cell, Table},
};

/// Who calls if the request comes from outside.
const GATEWAY: &str = "gateway";

/// Prints every limit of one's calls to another, and who says so.
pub fn explain(
    location: &Location,
    output: &Output,
    caller: &ServiceName,
    callee: &ServiceName,
    route: Option<&str>,
) -> Result<(), Failure> {
    let system = crate::manifest::load(location)?.system;
    known(&system, callee)?;
    let from_outside = caller.as_str() == GATEWAY && !system.services.contains_key(caller);
    let explained = match (from_outside, route) {
        (true, route) => over(&system, callee, route)?,
        (false, Some(_)) => return Err(Failure::message("only requests of the gateway come over a route")),
        (false, None) => between(&system, caller, callee)?,
    };
    if output.is_json() {
        return output.json(&explained);
    }
    let mut table = Table::new(&["SETTING", "VALUE", "SCOPE", "PLACE"]);
    for ExplainedLimit { setting, value, scope, place } in &explained {
        let paint = if scope.is_some() { Paint::Strong } else { Paint::Faint };
        table.row([
            Cell::new(setting).paint(paint),
            Cell::new(madang_model::inline(value)),
            Cell::new(scope.map_or("built in".to_owned(), |scope| scope.to_string())),
            Cell::maybe(place.as_ref()),
        ]);
    }
    output.table(&table)
}

fn between(
    system: &System,
    caller: &ServiceName,
    callee: &ServiceName,
) -> Result<Vec<ExplainedLimit>, Failure> {
    let Some(callees) = system.callees(caller.as_str()) else { return Err(nobody(system, caller)) };
    if !callees.contains(callee) {
        return Err(Failure::message(format!(
            "{caller} declares no calls to {callee}: add it to `calls` of {caller}"
        )));
    }
    Ok(system.explain_call(caller, callee))
}

fn over(system: &System, callee: &ServiceName, path: Option<&str>) -> Result<Vec<ExplainedLimit>, Failure> {
    let mut routes = system.routes.iter().filter(|route| route.to.iter().any(|to| to.service == *callee));
    let Some(path) = path else { return Ok(system.explain_route(None, callee)) };
    match routes.clone().find(|route| route.path == path) {
        Some(route) => Ok(system.explain_route(Some(route), callee)),
        None => {
            let paths: Vec<_> = routes.by_ref().map(|route| route.path.as_str()).collect();
            let known = if paths.is_empty() { "none".to_owned() } else { paths.join(", ") };
            Err(Failure::message(format!("no route {path} leads to {callee}; those that do: {known}")))
        }
    }
}

fn known(system: &System, name: &ServiceName) -> Result<(), Failure> {
    if system.services.contains_key(name) { Ok(()) } else { Err(nobody(system, name)) }
}

fn nobody(system: &System, name: &ServiceName) -> Failure {
    let names = system.services.keys().map(ServiceName::as_str);
    let hint =
        nearest(name.as_str(), names).map_or(String::new(), |near| format!(": did you mean \"{near}\"?"));
    Failure::message(format!("{} has no service \"{name}\"{hint}", system.name))
}
