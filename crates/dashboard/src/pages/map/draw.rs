//! The map as a picture.

use madang_wire::{
    admin::{ServiceView, State},
    metrics::{GATEWAY, LISTENER, MetricsSummary, ServiceFlow},
};
use maud::{Markup, html};

use super::{
    Edge,
    graph::{Common, Graph, Group, NODE_WIDTH, Node, PADDING},
};
use crate::{format, query::segment};

/// How many characters of a name there is room for.
const LONGEST: usize = 18;

pub(super) fn draw(
    graph: &Graph,
    services: &[ServiceView],
    edges: &[Edge],
    summary: &MetricsSummary,
) -> Markup {
    let (width, height) = (graph.width, graph.height);
    html! {
        svg.map width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group"
            aria-label="Services and the calls between them" {
            @for group in &graph.groups { (together(group)) }
            // Those with traffic over the others, and those with failures last, so that no other lies over what is said of
            // them and takes their clicks.
            @for order in 0..3 {
                @for edge in edges.iter().filter(|edge| edge.order() == order) { (way(graph, edges, edge)) }
            }
            @for node in &graph.nodes {
                @let service = services.iter().find(|service| service.name == node.name);
                @let flow = summary.services.iter().find(|flow| flow.service == node.name);
                (somebody(node, service, flow, summary))
            }
        }
    }
}

fn together(group: &Group) -> Markup {
    let Group { common, x, y, height } = group;
    let said = match common {
        Common::Domain(name) => format!("domain {}", cut(name, LONGEST)),
        Common::Owner(name) => format!("owner {}", cut(name, LONGEST)),
    };
    html! {
        g.group {
            rect x=(x) y=(y) width=(NODE_WIDTH + 2 * PADDING) height=(height) rx="8" {}
            text x=(x + PADDING) y=(y + 16) { (said) }
        }
    }
}

fn somebody(
    node: &Node,
    service: Option<&ServiceView>,
    flow: Option<&ServiceFlow>,
    summary: &MetricsSummary,
) -> Markup {
    let Node { name, x, y, height, .. } = node;
    let outside = name == GATEWAY || name == LISTENER;
    let (href, what) = match outside {
        true => ("/routes".to_owned(), "from outside".to_owned()),
        false => (format!("/services/{}", segment(name)), service.map(said_of).unwrap_or_default()),
    };
    let flow = match name.as_str() {
        GATEWAY => Some(&summary.total),
        _ => flow.map(|flow| &flow.flow),
    };
    let traffic = flow.map(flow_said).unwrap_or_default();
    let failed = flow.is_some_and(|flow| flow.errors > 0);
    let class = service.map_or("outside", health);
    html! {
        a.node.(class) id={ "node-" (name) } href=(href) aria-label={ (name) ", " (what) ", " (traffic) } {
            rect.box x=(x) y=(y) width=(NODE_WIDTH) height=(height) rx="6" {}
            rect.mark x=(x) y=(y) width="5" height=(height) rx="2" {}
            text.name x=(x + 16) y=(y + 24) { (cut(name, LONGEST)) }
            text.what x=(x + 16) y=(y + 42) { (what) }
            text.traffic.{ @if failed { "failed" } } x=(x + 16) y=(y + 58) { (traffic) }
        }
    }
}

/// A text as far as there is room for it.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// How many run of a service, and whose it is where its group does not say that.
fn said_of(service: &ServiceView) -> String {
    let owner = service.owner.as_deref().filter(|_| service.domain.is_some());
    let owner = owner.map(|owner| format!(" · {}", cut(owner, 12))).unwrap_or_default();
    format!("{}{owner}", running(service))
}

fn running(service: &ServiceView) -> String {
    if service.url.is_some() {
        return "elsewhere".to_owned();
    }
    let ready = service.instances.iter().filter(|one| one.state == State::Ready).count();
    match service.instances.len() {
        0 => "nobody joined".to_owned(),
        all if all == ready => format!("{ready} ready"),
        all => format!("{ready} of {all} ready"),
    }
}

fn health(service: &ServiceView) -> &'static str {
    let states = || service.instances.iter().map(|one| one.state);
    if states().any(|state| matches!(state, State::Failed | State::Backoff)) {
        return "bad";
    }
    match states().any(|state| state == State::Ready) || service.url.is_some() {
        true => "good",
        false if states().all(|state| state == State::Stopped) => "quiet",
        false => "busy",
    }
}

fn flow_said(flow: &madang_wire::metrics::Flow) -> String {
    if flow.requests == 0 {
        return "no traffic".to_owned();
    }
    let how = match flow.p95_us {
        _ if flow.errors > 0 => format!(" · {} failed", format::share(flow.error_ratio)),
        Some(p95) => format!(" · p95 {}", format::took(p95)),
        None => String::new(),
    };
    format!("{}{how}", format::rate(flow.rate))
}

fn way(graph: &Graph, edges: &[Edge], edge: &Edge) -> Markup {
    let (Some(from), Some(to)) = (graph.node(&edge.from), graph.node(&edge.to)) else { return html! {} };
    // Each has a place of its own where it leaves and where it arrives.
    let place = |node: &Node, of: &[&Edge]| {
        let at = of.iter().position(|one| std::ptr::eq(*one, edge)).unwrap_or(0) as u32;
        node.y + node.height * (at + 1) / (of.len() as u32 + 1)
    };
    let height = |name: &str| graph.node(name).map_or(0, |node| node.y);
    let mut out: Vec<&Edge> = edges.iter().filter(|one| one.from == edge.from).collect();
    out.sort_by_key(|one| height(&one.to));
    let mut into: Vec<&Edge> = edges.iter().filter(|one| one.to == edge.to).collect();
    into.sort_by_key(|one| (height(&one.from), &one.from));
    let aside = 7 * out.iter().position(|one| std::ptr::eq(*one, edge)).unwrap_or(0) as u32;
    let (x1, y1, x2, y2) = (from.x + NODE_WIDTH, place(from, &out), to.x, place(to, &into));
    let path = if x1 < x2 {
        let mut path = format!("M{x1} {y1}");
        let (mut x, mut y) = (x1, y1);
        let passed = graph.passes((x1, y1), (x2, y2), aside);
        let ends =
            passed.iter().map(|(left, height)| (left - PADDING, *height, Some(left + NODE_WIDTH + PADDING)));
        for (to_x, to_y, on) in ends.chain([(x2 - 2, y2, None)]) {
            let bend = (to_x - x) / 2;
            path.push_str(&format!("C{} {y} {} {to_y} {to_x} {to_y}", x + bend, to_x - bend));
            (x, y) = (on.unwrap_or(to_x), to_y);
            path.push_str(&on.map(|on| format!("H{on}")).unwrap_or_default());
        }
        path
    } else {
        // Back to the left: around below both.
        let below = (from.y + from.height).max(to.y + to.height) + 18;
        format!("M{x1} {y1}C{} {below} {} {below} {} {y2}", x1 + 60, x2.saturating_sub(60), x2 - 2)
    };
    let said = edge.said();
    let failed = edge.failed();
    let strength = match edge.flow.as_ref().map_or(0.0, |flow| flow.rate) {
        rate if rate <= 0.0 => "none",
        rate if rate < 10.0 => "some",
        rate if rate < 100.0 => "more",
        _ => "most",
    };
    html! {
        a.way.(strength).{ @if failed { "bad" } } id={ "edge-" (edge.from) "-" (edge.to) } href=(edge.traces())
            aria-label={ (edge.from) " to " (edge.to) ": " (said) } {
            title { (edge.from) " → " (edge.to) ": " (said) }
            path.reach d=(path) {}
            path.line d=(path) {}
            path.head d={ "M" (x2 - 8) " " (y2.saturating_sub(4)) "L" (x2 - 1) " " (y2) "L" (x2 - 8) " " (y2 + 4) "Z" } {}
            @if strength != "none" { text x=(x2 - 12) y=(y2.saturating_sub(4)) { (said) } }
        }
    }
}
