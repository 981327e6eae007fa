//! What happened to units, passed on to whoever looks on. Nothing is kept here.

use madang_model::{InstanceId, ReleaseId, UnitName};
use madang_wire::admin::{Event, EventKind};
use tokio::sync::broadcast;
use tracing::{info, warn};

use crate::{proc, spec::Release};

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
        self.tell(unit, instance, None, kind, message.into());
    }

    /// The same, where it is known which release it is about.
    pub(crate) fn emit_of(
        &self,
        (unit, release): (&UnitName, &Release),
        instance: Option<&InstanceId>,
        kind: EventKind,
        message: impl Into<String>,
    ) {
        self.tell(unit, instance, Some(&release.id), kind, message.into());
    }

    fn tell(
        &self,
        unit: &UnitName,
        instance: Option<&InstanceId>,
        release: Option<&ReleaseId>,
        kind: EventKind,
        message: String,
    ) {
        let instance = instance.map(ToString::to_string);
        // The rest is a program's own output, and not for the log.
        let text = message.lines().next().unwrap_or_default();
        match kind {
            EventKind::BuildFailed | EventKind::GaveUp | EventKind::Exited | EventKind::Degraded => {
                warn!(%unit, instance, ?kind, text, "unit is in trouble");
            }
            _ => info!(%unit, instance, ?kind, text, "unit changed"),
        }
        let release = release.map(ToString::to_string);
        let (at, unit) = (proc::wall_clock(), unit.to_string());
        let event = Event { at, unit, instance, release, kind, message };
        // Nobody may be looking on.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
