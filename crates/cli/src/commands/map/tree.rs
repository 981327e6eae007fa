//! The calls as a tree: from those whom nobody calls to whom they call, and on.

use madang_wire::metrics::{EdgeFlow, MetricsSummary};

use super::nodes;
use crate::{
    style::{Paint, Style},
    table::{Cell, Table},
    units,
};

/// Draws it; whoever has been drawn with all below is not drawn so again.
pub fn draw(summary: &MetricsSummary, style: Style) -> String {
    let mut tree = Tree { summary, rows: Vec::new(), done: Vec::new() };
    let called = |name: &str| summary.edges.iter().any(|edge| edge.callee == name && edge.caller != name);
    let calls = |name: &str| summary.edges.iter().any(|edge| edge.caller == name);
    let nodes = nodes(summary);
    for root in nodes.iter().filter(|name| calls(name) && !called(name)) {
        tree.root(root);
    }
    // Those that only call each other around have no beginning.
    for name in &nodes {
        if calls(name) && !tree.done.contains(name) {
            tree.root(name);
        }
    }
    let mut table = Table::new(&["CALLS", "RATE", "ERRORS", "P50", "P99", "RETRIES"]);
    for (text, edge) in &tree.rows {
        table.row(cells(text, *edge));
    }
    let mut text = String::new();
    if tree.rows.is_empty() {
        text.push_str(&format!("no calls in the last {}\n", units::elapsed(summary.window_ms)));
    } else {
        text.push_str(&table.render(style));
    }
    let idle: Vec<&str> = nodes.into_iter().filter(|name| !called(name) && !calls(name)).collect();
    if !idle.is_empty() {
        text.push_str(&style.paint(Paint::Faint, &format!("not called: {}", idle.join(", "))));
        text.push('\n');
    }
    text
}

struct Tree<'a> {
    summary: &'a MetricsSummary,
    rows: Vec<(String, Option<&'a EdgeFlow>)>,
    done: Vec<&'a str>,
}

impl<'a> Tree<'a> {
    fn root(&mut self, name: &'a str) {
        self.rows.push((name.to_owned(), None));
        self.done.push(name);
        self.below(name, "");
    }

    fn below(&mut self, caller: &'a str, indent: &str) {
        let edges: Vec<_> = self.summary.edges.iter().filter(|edge| edge.caller == caller).collect();
        for (place, edge) in edges.iter().enumerate() {
            let last = place + 1 == edges.len();
            let again = self.done.contains(&&*edge.callee);
            let further = again && self.summary.edges.iter().any(|other| other.caller == edge.callee);
            let more = if further { " …" } else { "" };
            let branch = if last { "└─ " } else { "├─ " };
            self.rows.push((format!("{indent}{branch}{}{more}", edge.callee), Some(edge)));
            if !again {
                self.done.push(&edge.callee);
                self.below(&edge.callee, &format!("{indent}{}", if last { "   " } else { "│  " }));
            }
        }
    }
}

fn cells(text: &str, edge: Option<&EdgeFlow>) -> Vec<Cell> {
    let Some(EdgeFlow { flow, .. }) = edge else { return vec![Cell::new(text).paint(Paint::Strong)] };
    let errors = Cell::new(units::percent(flow.error_ratio));
    let time = |micros: Option<u64>| Cell::maybe(micros.map(units::precise));
    let retries = Cell::new(flow.retries.to_string());
    vec![
        Cell::new(text),
        Cell::new(units::rate(flow.rate)),
        if flow.errors > 0 { errors.paint(Paint::Bad) } else { errors },
        time(flow.p50_us),
        time(flow.p99_us),
        if flow.retries > 0 { retries.paint(Paint::Busy) } else { retries.paint(Paint::Faint) },
    ]
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::commands::map::tests::summary;

    #[test]
    fn calls_are_drawn_from_outside_inwards_each_once() {
        let shop = summary(&[
            ("gateway", "orders", 0),
            ("gateway", "users", 0),
            ("orders", "catalog", 0),
            ("orders", "users", 5),
            ("users", "orders", 0),
        ]);
        expect![[r#"
            CALLS              RATE    ERRORS  P50      P99      RETRIES
            gateway
            ├─ orders          10.0/s  0 %     1.00 ms  12.3 ms  0
            │  ├─ catalog      10.0/s  0 %     1.00 ms  12.3 ms  0
            │  └─ users        10.0/s  5.0 %   1.00 ms  12.3 ms  0
            │     └─ orders …  10.0/s  0 %     1.00 ms  12.3 ms  0
            └─ users …         10.0/s  0 %     1.00 ms  12.3 ms  0
            not called: mailer
        "#]]
        .assert_eq(&draw(&shop, Style::PLAIN));
    }

    #[test]
    fn who_only_calls_around_is_drawn_too() {
        let round = summary(&[("orders", "users", 0), ("users", "orders", 0)]);
        expect![[r#"
            CALLS           RATE    ERRORS  P50      P99      RETRIES
            orders
            └─ users        10.0/s  0 %     1.00 ms  12.3 ms  0
               └─ orders …  10.0/s  0 %     1.00 ms  12.3 ms  0
            not called: catalog, mailer
        "#]]
        .assert_eq(&draw(&round, Style::PLAIN));
        expect![[r#"
            no calls in the last 10 s
            not called: catalog, mailer, orders, users
        "#]]
        .assert_eq(&draw(&summary(&[]), Style::PLAIN));
    }
}
