//! `madang map`: which service calls which, how often, how well and how fast.

mod tree;

use madang_wire::metrics::{EdgeFlow, MetricsSummary};

use crate::{
    args::{Format, Map},
    client::Client,
    failure::Failure,
    output::Output,
    units,
};

/// Shows the calls of the last seconds as a tree, or as a graph that other programs draw.
pub async fn run(client: &Client, output: &Output, map: &Map, format: Format) -> Result<(), Failure> {
    let window = madang_model::format_duration(map.window);
    let summary: MetricsSummary = client.get(&format!("/v1/metrics/summary?window={window}")).await?;
    match format {
        Format::Json => output.json(&summary),
        Format::Dot => output.text(&dot(&summary)),
        Format::Mermaid => output.text(&mermaid(&summary)),
        Format::Table => output.text(&tree::draw(&summary, output.style())),
    }
}

/// What is known of the calls of one to another, in few words.
fn label(EdgeFlow { flow, .. }: &EdgeFlow) -> String {
    let p99 = units::precise(flow.p99_us.unwrap_or(0));
    format!("{}, {} failed, p99 {p99}", units::rate(flow.rate), units::percent(flow.error_ratio))
}

/// Everybody who calls, is called, or could be.
fn nodes(summary: &MetricsSummary) -> Vec<&str> {
    let edges = summary.edges.iter().flat_map(|edge| [&*edge.caller, &*edge.callee]);
    let mut all: Vec<&str> = edges.chain(summary.services.iter().map(|service| &*service.service)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// For Graphviz.
fn dot(summary: &MetricsSummary) -> String {
    let mut text = String::from("digraph madang {\n  rankdir=LR;\n  node [shape=box];\n");
    nodes(summary).iter().for_each(|name| text.push_str(&format!("  \"{name}\";\n")));
    for edge in &summary.edges {
        let colour = if edge.flow.errors > 0 { ", color=red, fontcolor=red" } else { "" };
        let (from, to, label) = (&edge.caller, &edge.callee, label(edge));
        text.push_str(&format!("  \"{from}\" -> \"{to}\" [label=\"{label}\"{colour}];\n"));
    }
    text + "}\n"
}

/// For Mermaid, which Markdown of many places draws.
fn mermaid(summary: &MetricsSummary) -> String {
    let nodes = nodes(summary);
    let id = |name: &str| nodes.iter().position(|node| *node == name).unwrap_or_default();
    let mut text = String::from("flowchart LR\n");
    nodes.iter().enumerate().for_each(|(id, name)| text.push_str(&format!("  n{id}[\"{name}\"]\n")));
    for edge in &summary.edges {
        let (from, to) = (id(&edge.caller), id(&edge.callee));
        text.push_str(&format!("  n{from} -- \"{}\" --> n{to}\n", label(edge)));
    }
    let red: Vec<String> = (0..)
        .zip(&summary.edges)
        .filter(|(_, edge)| edge.flow.errors > 0)
        .map(|(at, _): (usize, _)| at.to_string())
        .collect();
    if !red.is_empty() {
        text.push_str(&format!("  linkStyle {} stroke:red,color:red\n", red.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use madang_wire::metrics::{Flow, ServiceFlow};

    use super::*;

    pub(super) fn summary(edges: &[(&str, &str, u64)]) -> MetricsSummary {
        let edge = |(caller, callee, errors): &(&str, &str, u64)| EdgeFlow {
            caller: caller.to_string(),
            callee: callee.to_string(),
            flow: Flow {
                requests: 100,
                errors: *errors,
                rate: 10.0,
                error_ratio: *errors as f64 / 100.0,
                p50_us: Some(1000),
                p99_us: Some(12_300),
                ..Flow::default()
            },
        };
        let service = |name: &str| ServiceFlow { service: name.into(), ..ServiceFlow::default() };
        MetricsSummary {
            at: 0,
            window_ms: 10_000,
            total: Flow::default(),
            services: ["catalog", "mailer", "orders", "users"].map(service).into(),
            routes: vec![],
            edges: edges.iter().map(edge).collect(),
            releases: vec![],
            instances: vec![],
            dropped: Default::default(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn a_graph_is_what_other_programs_draw() {
        let summary = summary(&[("gateway", "orders", 0), ("orders", "users", 5)]);
        expect![[r#"
            digraph madang {
              rankdir=LR;
              node [shape=box];
              "catalog";
              "gateway";
              "mailer";
              "orders";
              "users";
              "gateway" -> "orders" [label="10.0/s, 0 % failed, p99 12.3 ms"];
              "orders" -> "users" [label="10.0/s, 5.0 % failed, p99 12.3 ms", color=red, fontcolor=red];
            }
        "#]]
        .assert_eq(&dot(&summary));
        expect![[r#"
            flowchart LR
              n0["catalog"]
              n1["gateway"]
              n2["mailer"]
              n3["orders"]
              n4["users"]
              n1 -- "10.0/s, 0 % failed, p99 12.3 ms" --> n3
              n3 -- "10.0/s, 5.0 % failed, p99 12.3 ms" --> n4
              linkStyle 1 stroke:red,color:red
        "#]]
        .assert_eq(&mermaid(&summary));
    }
}
