//! Where everybody stands: in columns, each right of who calls it, and beside those of the same domain or, where
//! there is none, of the same owner. The same system
//! is always laid out the same.

use std::collections::{BTreeMap, BTreeSet};

use madang_wire::admin::ServiceView;

use super::Edge;

/// Somebody in the picture: a service, or who calls from outside.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) height: u32,
}

/// What those have in common that stand together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Common {
    Domain(String),
    Owner(String),
}

/// Those of one domain or owner that stand together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) common: Common,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) height: u32,
}

/// The picture, in units of about a pixel.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) groups: Vec<Group>,
    pub(super) width: u32,
    pub(super) height: u32,
}

pub(super) const NODE_WIDTH: u32 = 160;
pub(super) const PADDING: u32 = 10;
const NODE_HEIGHT: u32 = 66;
/// Room around everybody, where ways pass too.
const MARGIN: u32 = 44;
/// Between columns there is room for what is said of a way.
const BETWEEN_COLUMNS: u32 = 150;
const BETWEEN_ROWS: u32 = 22;
const GROUP_HEAD: u32 = 22;
/// What each way into somebody takes of the height.
const WAY: u32 = 20;

impl Graph {
    pub(super) fn new(services: &[ServiceView], edges: &[Edge]) -> Self {
        let common = |name: &str| services.iter().find(|one| one.name == name).and_then(Common::of);
        let mut names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        names.extend(edges.iter().map(|edge| edge.from.as_str()));
        names.sort_unstable();
        names.dedup();
        let columns = columns(&names, edges);
        let mut graph = Self { nodes: Vec::new(), groups: Vec::new(), width: 0, height: 0 };
        for column in 0..=columns.values().copied().max().unwrap_or(0) {
            let of_column: Vec<&str> =
                names.iter().filter(|name| columns[**name] == column).copied().collect();
            let groups = graph.in_order(of_column, edges, &common);
            graph.place(column, groups, edges);
        }
        graph.width = graph.nodes.iter().map(|node| node.x + NODE_WIDTH).max().unwrap_or(0) + MARGIN;
        let bottoms = graph.nodes.iter().map(|node| node.y + node.height + PADDING);
        graph.height = bottoms.max().unwrap_or(0) + MARGIN;
        graph.centre();
        graph
    }

    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Where a way passes each column between its ends: at the height of the straight line, or beside whoever stands
    /// there, and so far `aside` of other ways that do.
    pub(super) fn passes(&self, from: (u32, u32), to: (u32, u32), aside: u32) -> Vec<(u32, u32)> {
        let between = |x: &u32| *x > from.0 && x + NODE_WIDTH < to.0;
        let columns: BTreeSet<u32> = self.nodes.iter().map(|node| node.x).filter(between).collect();
        let straight = |x: u32| {
            let share = f64::from(x + NODE_WIDTH / 2 - from.0) / f64::from(to.0 - from.0);
            (f64::from(from.1) + (f64::from(to.1) - f64::from(from.1)) * share) as u32
        };
        columns.into_iter().map(|x| (x, self.beside(x, straight(x), aside))).collect()
    }

    /// The height nearest to this one at which nobody stands in a column.
    fn beside(&self, x: u32, y: u32, aside: u32) -> u32 {
        const AIR: u32 = 8;
        let groups = self.groups.iter().filter(|group| group.x + PADDING == x);
        let nodes = self.nodes.iter().filter(|node| node.x == x);
        let all = groups.map(|group| (group.y, group.height)).chain(nodes.map(|node| (node.y, node.height)));
        let mut taken: Vec<(u32, u32)> =
            all.map(|(top, height)| (top.saturating_sub(AIR), top + height + AIR)).collect();
        taken.sort_unstable();
        let mut around: Option<(u32, u32)> = None;
        for (top, bottom) in taken {
            match &mut around {
                Some((_, end)) if top <= *end => *end = (*end).max(bottom),
                Some((start, end)) if *start <= y && y <= *end => break,
                _ => around = Some((top, bottom)),
            }
        }
        match around {
            Some((start, end)) if start <= y && y <= end => {
                if y - start < end - y {
                    start.saturating_sub(aside).max(4)
                } else {
                    end + aside
                }
            }
            _ => y,
        }
    }

    /// The groups of a column with theirs, near to those who call them, who are placed already.
    fn in_order<'a>(
        &self,
        names: Vec<&'a str>,
        edges: &[Edge],
        common: &impl Fn(&str) -> Option<Common>,
    ) -> Vec<(Option<Common>, Vec<&'a str>)> {
        let height = |name: &str| {
            let callers =
                edges.iter().filter(|edge| edge.to == name).filter_map(|edge| self.node(&edge.from));
            let (count, sum) = callers.fold((0, 0), |(count, sum), node| (count + 1, sum + node.y));
            sum.checked_div(count).unwrap_or(u32::MAX)
        };
        let mut groups: BTreeMap<Option<Common>, Vec<(u32, &str)>> = BTreeMap::new();
        for name in names {
            groups.entry(common(name)).or_default().push((height(name), name));
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.iter_mut().for_each(|(_, of)| of.sort_unstable());
        groups.sort_by_key(|(common, of)| {
            (of.iter().map(|(at, _)| u64::from(*at)).sum::<u64>() / of.len() as u64, common.clone())
        });
        groups
            .into_iter()
            .map(|(common, of)| (common, of.into_iter().map(|(_, name)| name).collect()))
            .collect()
    }

    fn place(&mut self, column: u32, groups: Vec<(Option<Common>, Vec<&str>)>, edges: &[Edge]) {
        let x = MARGIN + column * (NODE_WIDTH + BETWEEN_COLUMNS);
        let mut y = MARGIN;
        for (common, names) in groups {
            let top = y;
            y += if common.is_some() { GROUP_HEAD } else { 0 };
            for name in names {
                let ways = edges.iter().filter(|edge| edge.to == name).count() as u32;
                let height = NODE_HEIGHT.max((ways + 1) * WAY);
                self.nodes.push(Node { name: name.to_owned(), x, y, height });
                y += height + BETWEEN_ROWS;
            }
            if let Some(common) = common {
                self.groups.push(Group {
                    common,
                    x: x - PADDING,
                    y: top,
                    height: y - top - BETWEEN_ROWS + PADDING,
                });
                y += PADDING;
            }
        }
    }

    /// Columns that are lower than the whole stand in its middle.
    fn centre(&mut self) {
        let mut bottoms: BTreeMap<u32, u32> = BTreeMap::new();
        for node in &self.nodes {
            let bottom = bottoms.entry(node.x).or_default();
            *bottom = (*bottom).max(node.y + node.height);
        }
        let lowest = bottoms.values().copied().max().unwrap_or(0);
        for node in &mut self.nodes {
            node.y += (lowest - bottoms[&node.x]) / 2;
        }
        for group in &mut self.groups {
            group.y += (lowest - bottoms[&(group.x + PADDING)]) / 2;
        }
    }
}

impl Common {
    fn of(service: &ServiceView) -> Option<Self> {
        let domain = service.domain.clone().map(Self::Domain);
        domain.or_else(|| service.owner.clone().map(Self::Owner))
    }
}

/// The column of each: one right of the rightmost who calls it. Of calls in a circle, the one that closes it counts for
/// nothing.
fn columns<'a>(names: &[&'a str], edges: &'a [Edge]) -> BTreeMap<&'a str, u32> {
    let mut columns: BTreeMap<&str, u32> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut back: Vec<(&str, &str)> = Vec::new();
    // Depth first, from those whom nobody calls; then whoever is left is in a circle.
    let called = |name: &str| edges.iter().any(|edge| edge.to == name && edge.from != name);
    let (called, roots): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| called(name));
    for root in roots.into_iter().chain(called) {
        visit(root, edges, &mut Vec::new(), &mut order, &mut back);
    }
    for name in order.into_iter().rev() {
        let column = columns.get(name).copied().unwrap_or(0);
        columns.insert(name, column);
        for edge in edges.iter().filter(|edge| edge.from == name && !back.contains(&(&edge.from, &edge.to))) {
            let next = columns.entry(&edge.to).or_default();
            *next = (*next).max(column + 1);
        }
    }
    columns
}

fn visit<'a>(
    name: &'a str,
    edges: &'a [Edge],
    path: &mut Vec<&'a str>,
    order: &mut Vec<&'a str>,
    back: &mut Vec<(&'a str, &'a str)>,
) {
    if order.contains(&name) {
        return;
    }
    path.push(name);
    for edge in edges.iter().filter(|edge| edge.from == name) {
        if path.contains(&edge.to.as_str()) {
            back.push((name, &edge.to));
        } else {
            visit(&edge.to, edges, path, order, back);
        }
    }
    path.pop();
    order.push(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> Vec<Edge> {
        let pair = |pair: &str| {
            let (from, to) = pair.split_once('>').unwrap();
            Edge { from: from.to_owned(), to: to.to_owned(), flow: None }
        };
        text.split_whitespace().map(pair).collect()
    }

    fn columns_of(text: &str) -> String {
        let edges = edges(text);
        let mut names: Vec<&str> = edges.iter().flat_map(|edge| [edge.from.as_str(), &edge.to]).collect();
        names.sort_unstable();
        names.dedup();
        let shown = columns(&names, &edges).into_iter().map(|(name, column)| format!("{name}{column}"));
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everybody_stands_right_of_who_calls_them() {
        assert_eq!(columns_of("g>orders g>users orders>users orders>pay"), "g0 orders1 pay2 users2");
        assert_eq!(columns_of("g>a a>b b>c g>c"), "a1 b2 c3 g0");
        assert_eq!(columns_of("a>a"), "a0");
        assert_eq!(columns_of("g>a a>b b>a"), "a1 b2 g0", "the call back counts for nothing");
        assert_eq!(columns_of("a>b b>c c>a"), "a0 b1 c2");
    }

    #[test]
    fn a_way_passes_beside_whoever_stands_between() {
        let node = |name: &str, x, y| Node { name: name.to_owned(), x, y, height: 60 };
        let nodes = vec![node("a", 0, 100), node("b", 300, 90), node("c", 300, 300), node("d", 600, 100)];
        let graph = Graph { nodes, groups: Vec::new(), width: 800, height: 400 };
        assert_eq!(
            graph.passes((160, 110), (600, 110), 0),
            [(300, 82)],
            "above b, of which it would touch the top"
        );
        assert_eq!(
            graph.passes((160, 140), (600, 140), 5),
            [(300, 163)],
            "below it, and aside of another way"
        );
        assert_eq!(graph.passes((160, 220), (600, 220), 0), [(300, 220)], "between b and c");
        assert_eq!(graph.passes((160, 110), (300, 110), 0), []);
    }

    #[test]
    fn nobody_stands_on_anybody() {
        let service = |name: &str, domain: Option<&str>, owner: Option<&str>| ServiceView {
            name: name.to_owned(),
            owner: owner.map(str::to_owned),
            domain: domain.map(str::to_owned),
            url: None,
            unit: None,
            run: None,
            folder: None,
            listen: None,
            calls: Vec::new(),
            protocol: String::new(),
            database: None,
            routes: Vec::new(),
            instances: Vec::new(),
            health: Default::default(),
        };
        let services = [
            service("a", Some("x"), Some("team")),
            service("b", None, Some("x")),
            service("c", Some("x"), None),
            service("d", None, None),
            service("alone", None, None),
        ];
        let graph = Graph::new(&services, &edges("gateway>a gateway>b gateway>c gateway>d a>d b>d c>d"));
        assert_eq!(graph.nodes.len(), 6);
        for (at, one) in graph.nodes.iter().enumerate() {
            assert!(one.x + NODE_WIDTH <= graph.width && one.y + one.height <= graph.height, "{one:?}");
            for other in &graph.nodes[at + 1..] {
                let apart =
                    one.x != other.x || one.y + one.height <= other.y || other.y + other.height <= one.y;
                assert!(apart, "{one:?} {other:?}");
            }
        }
        let groups: Vec<_> = graph.groups.iter().map(|group| group.common.clone()).collect();
        assert_eq!(
            groups,
            [Common::Domain("x".to_owned()), Common::Owner("x".to_owned())],
            "those of one domain in one column stand together, and an owner of the same name is none"
        );
    }
}
