//! The inert system: names, ids, durations and the manifest, parsed into a validated [`System`].
//!
//! Knows nothing of the network, of async, of processes or of clocks. Its only I/O is reading the files
//! of a manifest (`manifest::load`).

mod auth;
mod composition;
mod duration;
pub mod edge;
mod issuer;
mod limits;
pub mod manifest;
mod name;
mod nearest;
mod network;
mod pattern;
pub mod policy;
mod size;
mod system;
mod telemetry;
mod tls;
mod url;

pub use auth::{ApiKeys, Auth, ClaimPath, Demand, Issuer, Require};
pub use composition::{Answer, Composition, PartCall};
pub use duration::{ParseDurationError, format_duration, parse_duration};
pub use edge::{Edge, EdgeRules, Redirect};
pub use issuer::{Grant, Login, OauthClient, OwnIssuer};
pub use limits::{ExplainedLimit, Limits, Scope, inline};
pub use name::{DomainName, InstanceId, InvalidName, ReleaseId, ServiceName, SystemName, UnitName};
pub use nearest::nearest;
pub use network::{Network, ParseNetworkError};
pub(crate) use pattern::path_matches;
pub use pattern::{parameters, unescaped};
pub use policy::Policy;
pub(crate) use size::{format_size, parse_size};
pub use system::{
    AdminListener, Database, Gateway, HeaderMatch, Place, Placement, PortRule, Protocol, Route, Service,
    System, Target, Unit,
};
pub use telemetry::{Forward, ForwardProtocol, Telemetry};
pub use tls::{
    Acme, CertificateFiles, Challenge, ClientCertificates, ExternalAccount, GatewayTls, TlsVersion,
};
pub use url::{BaseUrl, ParseUrlError, Url, WebUrl};
