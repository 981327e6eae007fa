//! What changes in the fields of messages.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};
use madang_calls::Context;
use madang_model::edge::{HeaderEdits, Part, Template};

/// Changes, ready to be made.
pub(crate) struct Edits {
    remove: Box<[HeaderName]>,
    set: Box<[(HeaderName, Value)]>,
    add: Box<[(HeaderName, Value)]>,
    /// Whether a value names the host.
    pub(crate) names_host: bool,
}

enum Value {
    Fixed(HeaderValue),
    Made(Template),
}

/// What is filled in.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) address: IpAddr,
    pub(crate) context: &'a Context,
    pub(crate) host: Option<&'a HeaderValue>,
}

impl Edits {
    /// Nothing if nothing changes. The manifest has checked names and values.
    pub(crate) fn new(edits: &HeaderEdits) -> Option<Self> {
        let name = |name: &String| HeaderName::from_bytes(name.as_bytes()).ok();
        let values = |from: &std::collections::BTreeMap<String, Template>| {
            from.iter().filter_map(|(key, value)| Some((name(key)?, Value::of(value)?))).collect()
        };
        let mut templates = edits.set.values().chain(edits.add.values());
        (!edits.is_empty()).then(|| Self {
            remove: edits.remove.iter().filter_map(name).collect(),
            set: values(&edits.set),
            add: values(&edits.add),
            names_host: templates.any(|template| template.0.contains(&Part::Host)),
        })
    }

    pub(crate) fn apply(&self, fields: &mut HeaderMap, filling: Filling<'_>) {
        for name in &self.remove {
            fields.remove(name);
        }
        for (name, value) in &self.set {
            fields.insert(name, value.filled(filling));
        }
        for (name, value) in &self.add {
            fields.append(name, value.filled(filling));
        }
    }
}

impl Value {
    fn of(template: &Template) -> Option<Self> {
        match template.0.as_slice() {
            [] => Some(Self::Fixed(HeaderValue::from_static(""))),
            [Part::Text(text)] => Some(Self::Fixed(HeaderValue::from_str(text).ok()?)),
            _ => Some(Self::Made(template.clone())),
        }
    }

    fn filled(&self, filling: Filling<'_>) -> HeaderValue {
        let template = match self {
            Self::Fixed(value) => return value.clone(),
            Self::Made(template) => template,
        };
        let mut text = Vec::new();
        for part in &template.0 {
            match part {
                Part::Text(fixed) => text.extend_from_slice(fixed.as_bytes()),
                Part::Address => text.extend_from_slice(filling.address.to_string().as_bytes()),
                Part::RequestId => text.extend_from_slice(filling.context.request_id.0.as_bytes()),
                Part::Host => text.extend_from_slice(filling.host.map_or(b"", HeaderValue::as_bytes)),
                Part::Route => {
                    text.extend_from_slice(filling.context.route.as_deref().unwrap_or_default().as_bytes());
                }
            }
        }
        // Each part is one that a field can hold.
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The host that an admitted request is for, as it was sent.
pub(crate) fn host(fields: &HeaderMap) -> Option<&HeaderValue> {
    fields.get(HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_go_are_set_and_are_added() {
        let template = |text: &str| Template::parse(text).unwrap();
        let edits = HeaderEdits {
            remove: vec!["server".to_owned()],
            set: [("x-from".to_owned(), template("{address} at {host} by {route}"))].into(),
            add: [("x-many".to_owned(), template("two"))].into(),
        };
        let edits = Edits::new(&edits).unwrap();
        assert!(edits.names_host);
        let mut fields = HeaderMap::new();
        for (name, value) in [("server", "x"), ("x-from", "me"), ("x-from", "too"), ("x-many", "one")] {
            fields.append(name, value.parse().unwrap());
        }
        let context = Context { route: Some("/a/**".into()), ..Context::root() };
        let host = HeaderValue::from_static("shop.example");
        let filling = Filling { address: "192.0.2.1".parse().unwrap(), context: &context, host: Some(&host) };
        edits.apply(&mut fields, filling);
        assert!(!fields.contains_key("server"));
        assert!(fields.get_all("x-from").iter().eq(["192.0.2.1 at shop.example by /a/**"]));
        assert!(fields.get_all("x-many").iter().eq(["one", "two"]));
        assert!(Edits::new(&HeaderEdits::default()).is_none());
    }
}
