//! Listeners, workers and routes: the way from an outside request to a service.
//!
//! Knows nothing of processes, storage, manifests as text, or of how a service is reached: that is `calls`.
//!
//! Map: [`Snapshot`] is what the manifest says, compiled (`template`, `router`); [`Gateway`] and [`Handle`] are
//! the running engine, `listeners` what they have open; `acceptor` hands connections of a [`Listener`] to a
//! `worker`, which serves each as a `connection`; `edge` is the way of one request through `path`, `inspect` and
//! the routes to a call, where `auth` says for whom (browsers `login` for that) and `policies` is what the gateway
//! itself does, or to an `answer` of its own; `tunnel` is what a connection becomes that switches to another protocol.
//! `grpc_web` translates for services that speak gRPC. `unread` answers what is no request. `tls` is how the gateway's
//! own listener proves who it is, and clients who they are.
//! `compositions` are services of the gateway's own, which answer from several others.
//! `fuzzing` is what must hold for whatever comes; it is there for tests only.
//! `cache` keeps answers for whoever asks the same. `tee` copies a body on its way, `written` writes values of fields.

mod acceptor;
mod answer;
mod auth;
mod cache;
mod compositions;
mod config;
mod connection;
mod edge;
mod error;
#[cfg(any(test, madang_fuzzing))]
pub mod fuzzing;
mod grpc_web;
mod handle;
mod inspect;
mod listener;
mod listeners;
mod login;
mod path;
mod policies;
mod proxies;
mod redirect;
mod router;
mod service;
mod snapshot;
mod stats;
mod tee;
mod template;
mod tls;
mod tunnel;
mod unread;
mod worker;
mod written;

pub use auth::{ApiKey, Identity, IdentityCounts, KeySource};
pub use cache::Purge;
pub use compositions::check;
pub use config::Config;
pub use error::Error;
pub use handle::Handle;
pub use listener::Listener;
pub use login::{Ask, Provider, Reply};
pub use policies::{Connected, LimitConnector, LimitStats, LimitStoreStats, MirrorStats, Stream};
pub use service::Gateway;
pub use snapshot::{Door, Faults, Snapshot};
pub use stats::Stats;
pub use template::InvalidTemplate;
pub use tls::{Authorities, Certificate, Clients, Credentials, Proof, Proving, Revoked, Tls, Unusable};
