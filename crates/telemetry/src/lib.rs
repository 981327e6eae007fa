//! What a system's services say and what is known of their requests.
//!
//! [`Logs`] reads the files that instances write their output to; [`Records`] keeps the latest request records
//! and adds them up; [`Traces`] keeps them as spans in the [`Archive`], which is there over restarts. Knows nothing of
//! processes, of HTTP or of who asks. It only ever reads a log: writing and trimming it is the business of whoever runs
//! the instance.

mod annotations;
mod archive;
mod error;
mod external;
pub mod forward;
mod lifetime;
mod logs;
mod metrics;
pub mod otlp;
mod prometheus;
mod records;
mod traces;
mod why;
mod writing;

pub use annotations::{Annotations, EventFilter};
pub use archive::{Archive, ArchiveConfig};
pub use error::Error;
pub use external::{Exponential, External, PushedMetric, PushedValue};
pub use lifetime::{Cut, Lifetime};
pub use logs::{LogConfig, LogFilter, LogQuery, LogRecord, Logs};
pub use metrics::{
    BOUNDS_US, Durations, Example, MetricConfig, MetricFilter, Metrics, ReleaseSpan, SeriesQuery,
    SeriesTotals, Summary, Totals,
};
pub use prometheus::{Exposition, LimitStoreGauges, NodeGauges, Scrape, render};
pub use records::{RecordFilter, Records, StatusClass, Total};
pub use traces::{TraceConfig, TraceFilter, Traces};
pub use why::{Declared, Why};
