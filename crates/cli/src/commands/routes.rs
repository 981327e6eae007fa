//! `madang routes`: what leads where.

use madang_wire::admin::{RouteView, TargetView};

use crate::{
    client::Client,
    failure::Failure,
    output::Output,
    style::Paint,
    table::{Cell, Table},
};

/// Lists the routes in the order of precedence.
pub async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let routes: Vec<RouteView> = client.get("/v1/routes").await?;
    if output.is_json() {
        return output.json(&routes);
    }
    output.table(&table(&routes))
}

/// The routes as a table.
pub fn table(routes: &[RouteView]) -> Table {
    let mut table = Table::new(&["PATH", "METHODS", "HOST", "HEADERS", "ASKS FOR", "TO", "EDGE", "PLACE"]);
    for route in routes {
        table.row([
            Cell::new(&route.path),
            any(&route.methods.join(",")),
            any(route.host.as_deref().unwrap_or_default()),
            Cell::maybe((!route.headers.is_empty()).then(|| route.headers.join(", "))),
            Cell::maybe(route.require.clone()),
            Cell::new(route.redirect.clone().unwrap_or_else(|| targets(&route.to))),
            Cell::maybe((!route.edge.is_empty()).then(|| route.edge.join(", "))),
            Cell::new(&route.place).paint(Paint::Faint),
        ]);
    }
    table
}

/// One service by its name; of several each one's share in per cent.
pub fn targets(to: &[TargetView]) -> String {
    if let [only] = to {
        return only.service.clone();
    }
    let total: u64 = to.iter().map(|target| u64::from(target.weight)).sum();
    let shares = to.iter().map(|target| {
        let share = (u64::from(target.weight) * 1000 / total.max(1)) as f64 / 10.0;
        format!("{} {share}%", target.service)
    });
    shares.collect::<Vec<_>>().join(", ")
}

fn any(text: &str) -> Cell {
    if text.is_empty() { Cell::new("any").paint(Paint::Faint) } else { Cell::new(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_relative_to_each_other() {
        let target = |service: &str, weight| TargetView { service: service.into(), weight };
        assert_eq!(targets(&[target("users", 7)]), "users");
        assert_eq!(targets(&[target("legacy", 95), target("cart", 5)]), "legacy 95%, cart 5%");
        assert_eq!(targets(&[target("a", 1), target("b", 2)]), "a 33.3%, b 66.6%");
        assert_eq!(targets(&[target("a", 0), target("b", 0)]), "a 0%, b 0%");
    }
}
