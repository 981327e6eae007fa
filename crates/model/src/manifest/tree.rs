//! A TOML file as a tree in which every key and value knows where it was written.
//!
//! Trees own their text and their places, so that one can be laid over another before anything is checked.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{
    error::{Code, Found, ManifestError},
    source::{Source, Spot},
};

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub value: Value,
    pub spot: Spot,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Boolean(bool),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
    /// A number with a fraction, a date, or a whole number past 64 bits: no key takes one.
    Other(&'static str),
    /// What was refused, and is given nevertheless.
    Broken,
}

/// A key of a table and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_spot: Spot,
    pub node: Node,
}

impl Node {
    /// What kind of value it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Whole(_) => "a number",
            Value::Boolean(true) => "`true`",
            Value::Boolean(false) => "`false`",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
            Value::Broken => "nothing",
        }
    }

    /// The entries of a table; none if it is anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The items of an array; none if it is anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The value of a key, broken or not.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Whether it, or anything in it, was refused.
    pub fn is_broken(&self) -> bool {
        match &self.value {
            Value::Broken => true,
            Value::List(items) => items.iter().any(Node::is_broken),
            Value::Table(entries) => entries.iter().any(|entry| entry.node.is_broken()),
            _ => false,
        }
    }

    /// Whether it was opened by a table header, `[x]` or `[[x]]`, rather than written as a value.
    pub fn has_header(&self) -> bool {
        matches!(self.value, Value::Table(_)) && self.spot.written().starts_with('[')
    }

    /// Lays another tree over this one: tables are merged, and anything else is replaced.
    pub fn overlay(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Table(entries), Value::Table(over)) => {
                for entry in over {
                    match entries.iter_mut().find(|under| under.key == entry.key) {
                        Some(under) => {
                            if !matches!(
                                (&under.node.value, &entry.node.value),
                                (Value::Table(_), Value::Table(_))
                            ) {
                                under.key_spot = entry.key_spot;
                            }
                            under.node.overlay(entry.node);
                        }
                        None => entries.push(entry),
                    }
                }
            }
            (value, over_value) => {
                *value = over_value;
                self.spot = over.spot;
            }
        }
    }

    /// The first table header of the file, in this table or below it.
    pub fn first_header(&self) -> Option<&Spot> {
        let below: &mut dyn Iterator<Item = &Node> = match &self.value {
            Value::Table(entries) => &mut entries.iter().map(|entry| &entry.node),
            Value::List(items) => &mut items.iter(),
            _ => return None,
        };
        let below = below.filter_map(Node::first_header);
        self.has_header().then_some(&self.spot).into_iter().chain(below).min_by_key(|spot| spot.order())
    }
}

/// Reads a file. Gives nothing if it is not TOML, and says why.
pub(super) fn parse(source: &Arc<Source>, found: &mut Found) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        let whole = Spot { source: source.clone(), range: 0..0 };
        return Some(Node { value: Value::Table(entries(table.into_inner(), source)), spot: whole });
    }
    for error in errors {
        let range = visible(within(error.span().unwrap_or(0..0), &source.text), &source.text);
        found.push(syntax(error.message(), Spot { source: source.clone(), range }));
    }
    None
}

fn syntax(message: &str, spot: Spot) -> ManifestError {
    let (what, expected) = message.split_once(", ").unwrap_or((message, "here"));
    let (label, help) = match what {
        "duplicate key" => (
            "written before",
            "each key and each table is written once: rename one, or merge what is below them".into(),
        ),
        "string values must be quoted" => {
            ("a text without quotes", format!("write it in quotes: {:?}", spot.written()))
        }
        _ => (
            expected,
            "a manifest is TOML: `key = \"text\"`, `key = 3`, `[table]`; see https://toml.io".to_owned(),
        ),
    };
    ManifestError::new(Code::SYNTAX, format!("{} is not TOML: {what}", spot.source.shown.display()))
        .at(&spot, label)
        .hint(help)
}

/// The span, or if it is empty the character before it, so that there is something to point at.
fn visible(span: std::ops::Range<usize>, text: &str) -> std::ops::Range<usize> {
    match text[..span.start].chars().next_back() {
        Some(before) if span.is_empty() => span.start - before.len_utf8()..span.start,
        _ => span,
    }
}

/// A span that lies on characters of the text, whatever was given.
fn within(span: std::ops::Range<usize>, text: &str) -> std::ops::Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

fn entries(table: DeTable<'_>, source: &Arc<Source>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_spot: Spot { source: source.clone(), range: within(key.span(), &source.text) },
            key: key.into_inner().into_owned(),
            node: node(value, source),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_spot.range.start);
    entries
}

fn node(value: toml::Spanned<DeValue<'_>>, source: &Arc<Source>) -> Node {
    let spot = Spot { source: source.clone(), range: within(value.span(), &source.text) };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Value::Other("a huge number"), Value::Whole)
        }
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Boolean(truth) => Value::Boolean(truth),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, source)),
    };
    Node { value, spot }
}
