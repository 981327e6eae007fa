//! What happened to units, passed on to whoever looks on. Nothing is kept here.

use madang_model::{InstanceId, UnitName};
use madang_wire::admin::{Event, EventKind};
use tokio::sync::broadcast;
use tracing::{info, warn};

use crate::proc;

/// How many events a slow reader may fall behind.
const BEHIND: usize = 1024;

pub(crate) struct Events(broadcast::Sender<Event>);

// === impl Events ===

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }

    pub(crate) fn emit(
        &self,
        unit: &UnitName,
        instance: Option<&InstanceId>,
        kind: EventKind,
        message: impl Into<String>,
    ) {
        let message = message.into();
        let instance = instance.map(ToString::to_string);
        // The rest is a program's own output, and not for the log.
        let text = message.lines().next().unwrap_or_default();
        match kind {
            EventKind::BuildFailed | EventKind::GaveUp | EventKind::Exited | EventKind::Degraded => {
                warn!(%unit, instance, ?kind, text, "unit is in trouble");
            }
            _ => info!(%unit, instance, ?kind, text, "unit changed"),
        }
        let event = Event { at: proc::wall_clock(), unit: unit.to_string(), instance, kind, message };
        // Nobody may be looking on.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
