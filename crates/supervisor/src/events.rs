//! What happened to units: the last of it kept, and all of it passed on to whoever looks on.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use madang_model::{InstanceId, UnitName};
use madang_wire::admin::{Event, EventKind};
use tokio::sync::broadcast;
use tracing::{info, warn};

use crate::proc;

/// How many events are kept, and how far behind a slow reader may fall.
const KEPT: usize = 1024;

pub(crate) struct Events {
    recent: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

// === impl Events ===

impl Events {
    pub(crate) fn new() -> Self {
        Self { recent: Mutex::default(), live: broadcast::Sender::new(KEPT) }
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
            EventKind::BuildFailed | EventKind::GaveUp | EventKind::Exited => {
                warn!(%unit, instance, ?kind, text, "unit is in trouble");
            }
            _ => info!(%unit, instance, ?kind, text, "unit changed"),
        }
        let event = Event { at: proc::wall_clock(), unit: unit.to_string(), instance, kind, message };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        // Sent under the lock, so that everybody sees one order. Nobody may be looking on.
        let _ = self.live.send(event);
    }

    pub(crate) fn recent(&self) -> Vec<Event> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }
}
