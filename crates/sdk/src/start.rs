//! Why a process cannot start, or must end.

use madang_model::{InvalidName, ServiceName};

use crate::Error;

/// Why a process cannot start, or must end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is nothing to run.
    #[error("no service is given to run")]
    NoService,
    /// A service's name breaks the rule for names.
    #[error("a service cannot have this name")]
    Name(#[from] InvalidName),
    /// A service is given twice.
    #[error("{0} is given twice")]
    Twice(ServiceName),
    /// Two services would share a database.
    #[error("{first} and {second} have the same database: each has one of its own")]
    SharedDatabase {
        /// One service.
        first: String,
        /// The other.
        second: String,
    },
    /// A variable of the environment has a bad value.
    #[error("the variable {name} is not as expected: {expected}")]
    Variable {
        /// The variable.
        name: String,
        /// What it should be.
        expected: String,
    },
    /// A service keeps rows and is not told where.
    #[error("{service} keeps a database: set {variable}, such as sqlite:{service}.db")]
    NoDatabaseUrl {
        /// The service.
        service: ServiceName,
        /// The variable that says where.
        variable: String,
    },
    /// The URL of a database is not one that the service can use.
    #[error("{service} cannot use its database URL: {reason}")]
    DatabaseUrl {
        /// The service.
        service: String,
        /// Why not.
        reason: String,
    },
    /// A database cannot be opened or migrated.
    #[error("failed to open and migrate the database of {service}")]
    Database {
        /// The service.
        service: String,
        /// Why.
        source: sqlx::Error,
    },
    /// What a service does before it is ready failed.
    #[error("failed to prepare {service}")]
    Prepare {
        /// The service.
        service: ServiceName,
        /// Why.
        source: Error,
    },
    /// The port cannot be listened on.
    #[error("failed to listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime or a signal cannot be set up.
    #[error("failed to set up the process")]
    Process(#[source] std::io::Error),
    /// A background task panicked.
    #[error("a background task of {service} panicked: {message}")]
    Background {
        /// The service.
        service: String,
        /// What the panic said.
        message: String,
    },
}
