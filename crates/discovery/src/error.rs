//! What can go wrong with the registry.

/// Why the registry could not be opened, or its leases not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's state could not be read or written.
    #[error("failed to reserve versions for the registry")]
    Versions {
        /// Why.
        source: madang_store::Error,
    },
    /// The leases of the node's life before could not be read.
    #[error("failed to read the leases that are kept")]
    Read {
        /// Why.
        source: madang_store::Error,
    },
    /// The leases could not be written.
    #[error("failed to keep the leases")]
    Keep {
        /// Why.
        source: madang_store::Error,
    },
}
