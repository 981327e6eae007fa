//! What can go wrong with the registry.

/// Why the registry could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's state could not be read or written.
    #[error("failed to reserve versions for the registry")]
    Versions {
        /// Why.
        #[from]
        source: madang_store::Error,
    },
}
