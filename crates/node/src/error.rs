//! Why a node did not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{CertificateError, DoorError, ExceptError, IsolationError, owner::OwnerError};

/// Why a node did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifest is refused; each reason has its place.
    #[error("the manifest is refused")]
    Manifest(#[from] madang_model::manifest::Errors),
    /// The system is not to be had.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The node's state cannot be opened.
    #[error("failed to open the state of the node")]
    State(#[from] madang_store::Error),
    /// The system has no randomness to give.
    #[error("failed to make a key")]
    Randomness(#[source] getrandom::Error),
    /// The registry cannot be opened.
    #[error("failed to open the registry")]
    Registry(#[from] madang_discovery::Error),
    /// A listener or route cannot be had.
    #[error("failed to open the gateway")]
    Gateway(#[from] madang_gateway::Error),
    /// A certificate of the gateway cannot be shown.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Units are to be left to a person that there are not.
    #[error(transparent)]
    Except(#[from] ExceptError),
    /// No port is left for a unit that a person runs.
    #[error("failed to find a port for a unit that is run by hand")]
    HandPort(#[source] io::Error),
    /// The system cannot run isolated.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// The metrics cannot be told where the manifest says.
    #[error("failed to listen for Prometheus on {address}, where [telemetry] `metrics` says")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The built-in issuer cannot listen.
    #[error("failed to listen on {address} for the issuer")]
    IssuerListener {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The built-in issuer cannot start.
    #[error("failed to start the issuer")]
    Issuer(#[from] madang_issuer::Error),
    /// A client's secret cannot be had.
    #[error("failed to read the secret of a client: {0}")]
    ClientSecret(String),
    /// A port of the gateway or of a service is somebody else's.
    #[error("{0}")]
    PortTaken(String),
    /// A door cannot be had.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The service API cannot listen.
    #[error("failed to listen for services on loopback")]
    ServiceApi(#[source] io::Error),
    /// The dashboard cannot listen.
    #[error("failed to listen on {address} for the dashboard")]
    AdminListener {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The token of the admin API cannot be left where its owner finds it.
    #[error("failed to write the token of the admin API")]
    AdminToken(#[source] io::Error),
    /// The admin API cannot listen.
    #[error("failed to listen on {path}")]
    AdminSocket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The supervisor cannot start.
    #[error("failed to start the supervisor")]
    Supervisor(#[from] madang_supervisor::Error),
}
