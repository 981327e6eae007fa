//! What can be wrong with a gateway's listeners and routes.

use std::{io, net::SocketAddr};

use madang_model::manifest::Errors;

use crate::template::InvalidTemplate;

/// Why the gateway cannot do what it is told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A worker or the acceptor could not be started.
    #[error("failed to start the thread {name}")]
    Thread {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A thread of the gateway ended by itself.
    #[error("the thread {name} of the gateway ended")]
    ThreadLost {
        /// Its name.
        name: String,
    },
    /// The gateway stops, or has stopped.
    #[error("the gateway has been stopped")]
    Stopped,
    /// A route's path is not a template.
    #[error("{place}: \"{path}\" is not a path of a route")]
    Template {
        /// The file and line.
        place: String,
        /// The path.
        path: String,
        /// What is wrong with it.
        source: InvalidTemplate,
    },
    /// A route names a method or header that cannot be one.
    #[error("{place}: \"{given}\" is not a method, a header name or a header value")]
    Field {
        /// The file and line.
        place: String,
        /// What was written.
        given: String,
    },
    /// The expressions of the compositions cannot be read.
    #[error("{}", listed(.0))]
    Compositions(Errors),
    /// A route leads nowhere.
    #[error("{place}: no target of the route has a weight above zero")]
    NoTarget {
        /// The file and line.
        place: String,
    },
}

impl Error {
    /// Whether an address is taken.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

fn listed(errors: &Errors) -> String {
    let line = |error: &madang_model::manifest::ManifestError| match error.place() {
        Some(place) => format!("{place}: {error}"),
        None => error.to_string(),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("; ")
}
