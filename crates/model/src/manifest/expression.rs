//! Texts of a manifest that others parse: expressions. They know their place, so that whoever parses them can show it.

use std::ops::Range;

use serde::{Serialize, Serializer};

use super::{
    error::{Code, ManifestError},
    source::{At, Spot},
};

/// A text that is an expression of another language, or has some in it, with its place in the manifest.
#[derive(Clone)]
pub struct Expression {
    text: String,
    spot: Spot,
}

impl Expression {
    pub(super) fn new(at: &At<String>) -> Self {
        Self { text: at.value.clone(), spot: at.spot.clone() }
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The problem of an expression that is refused, pointing at these bytes of it where the file has them as they are.
    pub fn refused(&self, at: Range<usize>, why: &str, label: &str, help: &str) -> ManifestError {
        let spot = match self.text.get(at).filter(|part| !part.is_empty()) {
            Some(part) => self.spot.narrowed(part),
            None => self.spot.clone(),
        };
        ManifestError::new(Code::BAD_EXPRESSION, why).at(&spot, label).hint(help)
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}", self.text, self.spot)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
