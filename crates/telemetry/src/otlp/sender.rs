//! Whose telemetry it is. That follows from who sent it; what it says of that itself is kept beside it, and not believed.

use std::sync::Arc;

use madang_wire::otlp::{attribute, common::v1::KeyValue, resource::v1::Resource, text};
use serde_json::{Map, Value};

use super::value;

/// What says who tells something, among the attributes of a resource.
const NAME: &str = "service.name";
const INSTANCE: &str = "service.instance.id";
const VERSION: &str = "service.version";

/// What it says of that itself, if that is something else.
const TOLD: &str = "told.";

/// The longest text of what an instance tells of itself that is kept, in bytes.
const LONGEST: usize = 8 * 1024;

/// Who sends telemetry, by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The unit, or the service that others run.
    pub name: Arc<str>,
    /// The unit among whose lines its own are: that of the service, if it has one.
    pub unit: Arc<str>,
    /// The services that it hosts.
    pub services: Vec<Arc<str>>,
    /// The instance, if it is one that Madang runs.
    pub instance: Option<Arc<str>>,
    /// Its release.
    pub release: Option<Arc<str>>,
}

/// Whose one resource is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    pub(super) service: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) release: Option<Arc<str>>,
    /// What else it tells of itself, as a JSON document.
    pub(super) resource: Arc<str>,
}

impl Sender {
    /// Writes who it is into a resource in place of what that says.
    pub(super) fn stamp(&self, resource: &mut Resource) -> Origin {
        let service = self.service(text(&resource.attributes, NAME));
        let mut attributes = Vec::with_capacity(resource.attributes.len() + 3);
        let mut own = |key: &str, value: Option<&str>| {
            attributes.extend(value.map(|value| attribute(key, value)));
        };
        own(NAME, Some(&service));
        own(INSTANCE, self.instance.as_deref());
        own(VERSION, self.release.as_deref());
        let known = attributes.len();
        for mut told in resource.attributes.drain(..) {
            let said = [&told.key, told.key.strip_prefix(TOLD).unwrap_or_default()];
            if attributes[..known].iter().any(|own| said.contains(&own.key.as_str())) {
                if attributes[..known].contains(&told) || told.key.starts_with(TOLD) {
                    continue;
                }
                told.key.insert_str(0, TOLD);
            }
            attributes.push(told);
        }
        let rest = rest(&attributes[known..]);
        resource.attributes = attributes;
        let (instance, release) = (self.instance.clone(), self.release.clone());
        Origin { service, instance, release, resource: rest }
    }

    /// The service of this name if the sender hosts it, or else the only one, or else the unit.
    fn service(&self, told: Option<&str>) -> Arc<str> {
        let hosted = self.services.iter().find(|service| told == Some(service));
        match (hosted, self.services.as_slice()) {
            (Some(hosted), _) => hosted.clone(),
            (None, [only]) => only.clone(),
            (None, _) => self.name.clone(),
        }
    }
}

fn rest(attributes: &[KeyValue]) -> Arc<str> {
    let (attributes, dropped) = value::attributes(attributes.to_vec());
    let text = serde_json::to_string(&attributes).unwrap_or_default();
    if text.len() <= LONGEST && dropped == 0 {
        return text.into();
    }
    let cut: Map<String, Value> = [("madang.cut".to_owned(), text.len().into())].into_iter().collect();
    Value::from(cut).to_string().into()
}
