//! Checks a tree against the list of keys, and substitutes variables on the way.
//!
//! What is refused is reported and marked as broken, so that the rest can still be read and checked.

use super::{
    error::{Code, Found, ManifestError},
    hint,
    keys::{Key, Shape, Table},
    source::Spot,
    tree::{Entry, Node, Value},
    variables::{self, Fault, SELF},
};
use crate::{manifest::format::Format, nearest};

/// What the check of a file needs besides its tree.
pub(super) struct Check<'a> {
    /// The variables at load.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What the file is: its root's table.
    pub root: &'static Table,
    /// Its first table header.
    pub first_header: Option<Spot>,
    pub found: &'a mut Found,
}

impl<'a> Check<'a> {
    /// Checks a whole file.
    pub fn file(
        tree: &mut Node,
        root: &'static Table,
        env: &'a dyn Fn(&str) -> Option<String>,
        found: &'a mut Found,
    ) {
        let first_header = tree.first_header().cloned();
        Check { env, root, first_header, found }.table(tree, root);
    }

    fn value(&mut self, node: &mut Node, shape: &'static Shape, key: &'static Key) {
        match (shape, &mut node.value) {
            (_, Value::Broken) => {}
            (Shape::Text(format), Value::Text(_)) => self.text(node, *format, key),
            (Shape::Choice(words), Value::Text(_)) => self.choice(node, words, key),
            (Shape::Whole(least, most), Value::Whole(number)) => {
                if !(*least..=*most).contains(number) {
                    let message = format!("`{}` cannot be {number}", key.name);
                    self.found.push(
                        ManifestError::new(Code::BAD_VALUE, message)
                            .at(&node.spot, format!("not within {least} and {most}"))
                            .hint(format!("write a whole number from {least} to {most}")),
                    );
                    node.value = Value::Broken;
                }
            }
            (Shape::False, Value::Boolean(false)) | (Shape::True, Value::Boolean(true)) => {}
            (Shape::List(item), Value::List(items)) => {
                for node in items {
                    self.value(node, item, key);
                }
            }
            (Shape::Map(name, value), Value::Table(entries)) => self.map(entries, *name, value, key),
            (Shape::Table(table), Value::Table(_)) => self.table(node, table),
            (Shape::AnyOf(shapes), _) => match shapes.iter().find(|shape| shape.takes(&node.value)) {
                Some(shape) => self.value(node, shape, key),
                None => self.wrong_type(node, shape, key),
            },
            _ => self.wrong_type(node, shape, key),
        }
    }

    fn table(&mut self, node: &mut Node, table: &'static Table) {
        for key in table.keys().filter(|key| key.required && node.get(key.name).is_none()) {
            self.missing(node, table, key);
        }
        self.form(node, table);
        let misplaced = hint::Enclosing::of(node, self.root, self.first_header.as_ref());
        let Value::Table(entries) = &mut node.value else { return };
        for entry in entries {
            match table.key(&entry.key) {
                Some(key) => self.value(&mut entry.node, &key.shape, key),
                None => {
                    self.found.push_with(|| misplaced.unknown_key(entry, table));
                    entry.node.value = Value::Broken;
                }
            }
        }
    }

    /// A table of several forms has one of them.
    fn form(&mut self, node: &Node, table: &'static Table) {
        let written: Vec<&Entry> =
            node.entries().iter().filter(|entry| table.key(&entry.key).is_some()).collect();
        let of_form = |entry: &Entry| table.forms.iter().find(|(key, _)| *key == entry.key);
        let Some((first, form)) = written.iter().find_map(|entry| Some((*entry, of_form(entry)?.1))) else {
            if !table.forms.is_empty() {
                let keys: Vec<_> = table.forms.iter().map(|(key, _)| format!("`{key}`")).collect();
                self.found.push(
                    ManifestError::new(Code::MISSING_KEY, format!("{} needs one of its forms", table.noun))
                        .at(&node.spot, "of no form")
                        .hint(format!("add one of {}", keys.join(", "))),
                );
            }
            return;
        };
        for entry in written.iter().filter(|entry| !form.contains(&entry.key.as_str())) {
            self.found.push(
                ManifestError::new(
                    Code::CONTRADICTION,
                    format!("{} cannot have both `{}` and `{}`", table.noun, first.key, entry.key),
                )
                .at(&entry.key_spot, format!("means nothing beside `{}`", first.key))
                .also(&first.key_spot, "this one decides")
                .hint(format!(
                    "beside `{}` there can be: {}",
                    first.key,
                    others(form, &first.key)
                )),
            );
        }
    }

    fn missing(&mut self, node: &Node, table: &Table, key: &Key) {
        let message = format!("{} needs the key `{}`", table.noun, key.name);
        self.found.push(
            ManifestError::new(Code::MISSING_KEY, message)
                .at(&node.spot, format!("`{}` is missing", key.name))
                .hint(format!("add {}", key.hint())),
        );
    }

    fn map(&mut self, entries: &mut [Entry], name: Format, value: &'static Shape, key: &'static Key) {
        for Entry { key: given, key_spot, node } in entries {
            self.value(node, value, key);
            if let Err(unfit) = name.check(given) {
                self.found.push(
                    ManifestError::new(
                        unfit.code,
                        format!("`{}` cannot have {} for a name", key.name, quoted(given)),
                    )
                    .at(key_spot, unfit.why)
                    .hint(unfit.help),
                );
                node.value = Value::Broken;
            }
        }
    }

    fn text(&mut self, node: &mut Node, format: Format, key: &Key) {
        let Value::Text(text) = &node.value else { return };
        match variables::substitute(text, format.is_deferred(), self.env) {
            Err(faults) => {
                for (written, fault) in faults {
                    self.found.push(fault_error(&node.spot, &written, fault, key));
                }
                node.value = Value::Broken;
            }
            Ok(text) => match format.check(&text) {
                Ok(()) => node.value = Value::Text(text),
                Err(unfit) => {
                    let shown = if format.may_be_secret() { cut(node.spot.written()) } else { quoted(&text) };
                    self.found.push(
                        ManifestError::new(unfit.code, format!("`{}` cannot be {shown}", key.name))
                            .at(&node.spot, unfit.why)
                            .hint(unfit.help),
                    );
                    node.value = Value::Broken;
                }
            },
        }
    }

    fn choice(&mut self, node: &mut Node, words: &[&'static str], key: &Key) {
        self.text(node, Format::Free, key);
        let Value::Text(text) = &node.value else { return };
        if words.contains(&text.as_str()) {
            return;
        }
        let name = key.name;
        let all = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let help = match nearest(text, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"? `{name}` takes {all}"),
            None => format!("`{name}` takes {all}"),
        };
        self.found.push(
            ManifestError::new(Code::BAD_VALUE, format!("`{name}` cannot be {}", quoted(text)))
                .at(&node.spot, "not one of its values")
                .hint(help),
        );
        node.value = Value::Broken;
    }

    fn wrong_type(&mut self, node: &mut Node, shape: &Shape, key: &Key) {
        let (name, expected) = (key.name, shape.words());
        let help = match (&node.value, shape) {
            (Value::Text(_), Shape::List(_)) => format!("write an array: {name} = [{}]", node.spot.written()),
            (Value::Text(text), shape) if shape.takes(&Value::Whole(0)) && text.parse::<u32>().is_ok() => {
                format!("write the number without quotes: {name} = {text}")
            }
            (Value::Whole(_), Shape::Text(Format::Duration)) => {
                format!("write the unit too: {name} = \"{}s\"", node.spot.written())
            }
            (Value::Whole(_), Shape::Text(Format::Size)) => {
                format!("write the unit too: {name} = \"{}MiB\"", node.spot.written())
            }
            (Value::Whole(_) | Value::Boolean(_), Shape::Text(_)) => {
                format!("write it in quotes: {name} = \"{}\"", node.spot.written())
            }
            _ => key.hint(),
        };
        self.found.push(
            ManifestError::new(Code::WRONG_TYPE, format!("`{name}` takes {expected}"))
                .at(&node.spot, format!("this is {}", node.kind()))
                .hint(help),
        );
        node.value = Value::Broken;
    }
}

impl Shape {
    /// Whether a value has the type of this shape.
    pub fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Text(_) | Self::Choice(_) => matches!(value, Value::Text(_)),
            Self::Whole(..) => matches!(value, Value::Whole(_)),
            Self::False => matches!(value, Value::Boolean(false)),
            Self::True => matches!(value, Value::Boolean(true)),
            Self::List(_) => matches!(value, Value::List(_)),
            Self::Map(..) | Self::Table(_) => matches!(value, Value::Table(_)),
            Self::AnyOf(shapes) => shapes.iter().any(|shape| shape.takes(value)),
        }
    }

    /// The shape in words.
    fn words(&self) -> String {
        match self {
            Self::Text(_) | Self::Choice(_) => "a text".into(),
            Self::Whole(..) => "a whole number".into(),
            Self::False => "`false`".into(),
            Self::True => "`true`".into(),
            Self::List(_) => "an array".into(),
            Self::Map(..) | Self::Table(_) => "a table".into(),
            Self::AnyOf(shapes) => shapes.iter().map(Self::words).collect::<Vec<_>>().join(" or "),
        }
    }
}

fn fault_error(spot: &Spot, written: &str, fault: Fault, key: &Key) -> ManifestError {
    let spot = &spot.narrowed(written);
    let what = quoted(written);
    match fault {
        Fault::Unset(name) => ManifestError::new(Code::VARIABLE, format!("the variable {name} is not set"))
            .at(spot, "no value for it")
            .hint(format!("set {name} in the environment of `madang`, or write a default: ${{{name}:-…}}")),
        Fault::Malformed => ManifestError::new(Code::VARIABLE, format!("{what} is not a variable"))
            .at(spot, "not a variable")
            .hint("write ${NAME} or ${NAME:-default}; a dollar sign before a brace is written $$"),
        Fault::TooEarly => ManifestError::new(
            Code::PLACEHOLDER,
            format!("{what} has no value yet when `{}` is read", key.name),
        )
        .at(spot, "known only when an instance starts")
        .hint("only `run` and `env` can hold it; elsewhere use ${NAME}, a variable of the environment"),
        Fault::UnknownSelf(name) => {
            let known = SELF.map(|name| format!("${{self.{name}}}")).join(", ");
            let help = match nearest(&name, SELF) {
                Some(name) => format!("did you mean ${{self.{name}}}? There are {known}"),
                None => format!("there are {known}"),
            };
            ManifestError::new(Code::PLACEHOLDER, format!("{what} is not known"))
                .at(spot, "no such placeholder")
                .hint(help)
        }
        Fault::UnknownOfService => ManifestError::new(Code::PLACEHOLDER, format!("{what} is not known"))
            .at(spot, "no such placeholder")
            .hint("of a service there is ${services.NAME.url}, the URL at which this program calls it"),
        Fault::SecretName(name) => {
            ManifestError::new(Code::PLACEHOLDER, format!("{} cannot be the name of a secret", quoted(&name)))
                .at(spot, "not the name of a secret")
                .hint("its name is of letters, digits, `-` and `_`, 64 at most: ${secret.pay}")
        }
    }
}

/// What there can be beside a key.
fn others(form: &[&str], key: &str) -> String {
    let others: Vec<_> = form.iter().filter(|other| **other != key).map(|key| format!("`{key}`")).collect();
    if others.is_empty() { "nothing".into() } else { others.join(", ") }
}

/// A text in quotes, cut where it gets long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

impl Key {
    /// The key and what it is for.
    fn hint(&self) -> String {
        format!("`{}`: {}", self.name, self.doc.trim_end_matches('.'))
    }
}
