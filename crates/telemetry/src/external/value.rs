//! Values as they are sent, and as they add up.

use std::collections::BTreeMap;

use madang_wire::metrics::{ExternalBucket, ExternalKind};
use serde::{Deserialize, Serialize};

use super::{ATTRIBUTES, Exponential, TEXT};

/// How many buckets a histogram may have.
const BUCKETS: usize = 200;

/// One point of one series of a metric, as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct PushedMetric {
    /// The metric's name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its unit.
    pub unit: String,
    /// What sets the series apart, the instance included where several send the same.
    pub attributes: BTreeMap<String, String>,
    /// The value.
    pub value: PushedValue,
}

/// A value as it was sent. One that is a `delta` is what came since the one before, others are all since a start.
#[derive(Debug, Clone, PartialEq)]
pub enum PushedValue {
    /// A value that is measured.
    Gauge(f64),
    /// A sum.
    Sum {
        /// The sum.
        value: f64,
        /// Whether it only grows.
        monotonic: bool,
        /// Whether it is what came since the one before.
        delta: bool,
    },
    /// How many values were how large.
    Histogram {
        /// The upper bounds of all buckets but the last, which has none; they grow.
        bounds: Vec<f64>,
        /// How many are in each bucket: one more than there are bounds.
        counts: Vec<u64>,
        /// How many there are.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Whether it is what came since the one before.
        delta: bool,
    },
    /// The same with bounds that grow by a factor.
    Exponential {
        /// The buckets.
        buckets: Exponential,
        /// How many there are.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Whether it is what came since the one before.
        delta: bool,
    },
}

/// What a series adds up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Kept {
    Number(f64),
    Histogram { bounds: Vec<f64>, counts: Vec<u64>, count: u64, sum: f64 },
    Exponential { buckets: Exponential, count: u64, sum: f64 },
}

// === impl PushedMetric ===

impl PushedMetric {
    /// Whether it has bounds and makes sense.
    pub(super) fn fits(&self) -> bool {
        let short = |text: &str| text.len() <= TEXT;
        let attributes = self.attributes.iter();
        !self.name.is_empty()
            && short(&self.name)
            && short(&self.unit)
            && self.attributes.len() <= ATTRIBUTES
            && attributes.into_iter().all(|(name, value)| short(name) && short(value))
            && self.value.fits()
    }
}

// === impl PushedValue ===

impl PushedValue {
    pub(super) fn kind(&self) -> ExternalKind {
        match self {
            Self::Gauge(_) => ExternalKind::Gauge,
            Self::Sum { monotonic: true, .. } => ExternalKind::Counter,
            Self::Sum { .. } => ExternalKind::Sum,
            Self::Histogram { .. } | Self::Exponential { .. } => ExternalKind::Histogram,
        }
    }

    fn fits(&self) -> bool {
        match self {
            Self::Gauge(value) | Self::Sum { value, .. } => value.is_finite(),
            Self::Histogram { bounds, counts, sum, .. } => {
                let grow = bounds.windows(2).all(|pair| pair[0] < pair[1]);
                // One without bounds may be sent without counts, which are that of all.
                let as_many = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
                grow && as_many
                    && counts.len() <= BUCKETS
                    && sum.is_finite()
                    && bounds.iter().all(|b| b.is_finite())
            }
            Self::Exponential { buckets, sum, .. } => sum.is_finite() && buckets.fits(),
        }
    }
}

// === impl Kept ===

impl From<PushedValue> for Kept {
    fn from(value: PushedValue) -> Self {
        match value {
            PushedValue::Gauge(value) | PushedValue::Sum { value, .. } => Self::Number(value),
            PushedValue::Histogram { bounds, counts, count, sum, .. } => {
                let counts = if counts.is_empty() { vec![count] } else { counts };
                Self::Histogram { bounds, counts, count, sum }
            }
            PushedValue::Exponential { mut buckets, count, sum, .. } => {
                buckets.narrow();
                Self::Exponential { buckets, count, sum }
            }
        }
    }
}

impl Kept {
    /// Adds what came since, or is replaced by what is told as a whole.
    pub(super) fn take(&mut self, value: PushedValue) {
        let delta = match &value {
            PushedValue::Gauge(_) => false,
            PushedValue::Sum { delta, .. }
            | PushedValue::Histogram { delta, .. }
            | PushedValue::Exponential { delta, .. } => *delta,
        };
        let new = Self::from(value);
        if !delta || !self.add(&new) {
            *self = new;
        }
    }

    /// False if it is of another form, so that it cannot be added.
    fn add(&mut self, new: &Self) -> bool {
        match (self, new) {
            (Self::Number(kept), Self::Number(more)) => *kept += more,
            (
                Self::Histogram { bounds, counts, count, sum },
                Self::Histogram { bounds: others, counts: more, count: number, sum: total },
            ) if bounds == others => {
                counts.iter_mut().zip(more).for_each(|(kept, more)| *kept = kept.saturating_add(*more));
                *count = count.saturating_add(*number);
                *sum += total;
            }
            (
                Self::Exponential { buckets, count, sum },
                Self::Exponential { buckets: more, count: number, sum: total },
            ) => {
                buckets.add(more);
                *count = count.saturating_add(*number);
                *sum += total;
            }
            _ => return false,
        }
        true
    }

    /// Its value; of a histogram the sum of the values.
    pub(super) fn value(&self) -> f64 {
        match self {
            Self::Number(value) => *value,
            Self::Histogram { sum, .. } | Self::Exponential { sum, .. } => *sum,
        }
    }

    /// How many values a histogram has, and their sum.
    pub(super) fn counted(&self) -> Option<(u64, f64)> {
        match self {
            Self::Number(_) => None,
            Self::Histogram { count, sum, .. } | Self::Exponential { count, sum, .. } => Some((*count, *sum)),
        }
    }

    pub(super) fn buckets(&self) -> Vec<ExternalBucket> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Histogram { bounds, counts, .. } => {
                let bounds = bounds.iter().copied().map(Some).chain([None]);
                bounds.zip(counts).map(|(le, &count)| ExternalBucket { le, count }).collect()
            }
            Self::Exponential { buckets, .. } => buckets.told(),
        }
    }
}
