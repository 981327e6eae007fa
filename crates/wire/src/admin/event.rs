//! What happens to a system.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What happened to a unit, or to the calls to a service: `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The unit; the service where it is about calls; the system where it is about all of it.
    pub unit: String,
    /// The instance, where it is about one.
    pub instance: Option<String>,
    /// The release of that instance or of the unit, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What happened.
    pub kind: EventKind,
    /// In words; for a failure also the last lines of the output.
    pub message: String,
}

/// A kind of [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A build began.
    Building,
    /// A build ended well.
    Built,
    /// A build failed.
    BuildFailed,
    /// Something that it needs is not ready; repeated while it lasts.
    Blocked,
    /// Another release is the one of which instances are started.
    Released,
    /// A process was started.
    Started,
    /// A process of the node before this one goes on under this one.
    Adopted,
    /// An instance of the node before this one is not kept, for this reason; another is started where one should run.
    Restarted,
    /// An instance is in rotation.
    Ready,
    /// A process exited without being told to.
    Exited,
    /// It will be started again after a pause.
    Backoff,
    /// It will not be started again.
    GaveUp,
    /// It is not started, because something that it requires is not on the machine.
    LeftOut,
    /// It is being stopped.
    Stopping,
    /// It is gone.
    Stopped,
    /// An instance that others started joined.
    Joined,
    /// It left.
    Left,
    /// It did not renew its lease in time.
    Expired,
    /// The manifest was read again and is in force.
    Applied,
    /// The manifest was read again and refused; the old one stays in force.
    Refused,
    /// Something that Madang needs for itself cannot be had, a place on the disk for instance: what it is, and what
    /// goes on without.
    Degraded,
    /// It can be had again.
    Recovered,
    /// The node before this one was killed, or its machine went: up to when telemetry is whole, which is when this is said to
    /// have happened.
    NodeKilled,
    /// A fault was added.
    FaultAdded,
    /// A fault was removed.
    FaultRemoved,
    /// A fault ended by itself.
    FaultExpired,
    /// A fault killed an instance.
    FaultFired,
    /// Calls to the service are refused, because too many failed: those through this node, as its breaker says.
    BreakerOpened,
    /// One call at a time finds out whether the service is well again.
    BreakerHalfOpen,
    /// Calls to the service pass again.
    BreakerClosed,
    /// The instance is out of use because of its answers.
    Ejected,
    /// The instance is in use again.
    Returned,
}

// === impl Event ===

impl Event {
    /// What it says in a line: without what only leads to the lines that follow.
    pub fn headline(&self) -> &str {
        let first = self.message.lines().next().unwrap_or_default();
        match first.strip_suffix(':').and_then(|first| first.rsplit_once("; ")) {
            Some((said, _)) => said,
            None => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_leads_to_nothing() {
        let check = |message: &str, expected: &str| {
            let kind = EventKind::Exited;
            let message = message.to_owned();
            let event = Event { at: 0, unit: String::new(), instance: None, release: None, kind, message };
            assert_eq!(event.headline(), expected);
        };
        check("exited with code 3; its last output:\nout of memory", "exited with code 3");
        check(
            "gave up after 5 starts; exited with code 3; its last output:\n…",
            "gave up after 5 starts; exited with code 3",
        );
        check("http://127.0.0.1:20001", "http://127.0.0.1:20001");
        check("refused:\nline 3", "refused:");
        check("", "");
    }
}
