//! The limits of a call.

use std::time::Duration;

/// The limits of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The total time, retries and parking included.
    pub timeout: Duration,
    /// The time of one attempt.
    pub attempt_timeout: Duration,
    /// The time to connect, over all attempts at it.
    pub connect_timeout: Duration,
    /// The time without a byte after which a stream is given up.
    pub idle_timeout: Duration,
    /// How many times a call is tried at most.
    pub attempts: u32,
    /// How many calls of a service may wait for an instance at once.
    pub parked: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            attempts: 3,
            parked: 1024,
        }
    }
}
