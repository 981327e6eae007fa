//! A system whose node was killed: its instances run on, and no node takes them over.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use madang_store::Store;
use madang_supervisor::Left;

use crate::{StartError, build, environment, owner::Owner, place::Place, stops::Stops, tokens::Tokens};

/// The instances of a system that no node runs. While this lives none can be started.
pub struct Leftovers {
    left: Vec<Left>,
    state: Store,
    _owner: Owner,
}

// === impl Leftovers ===

impl Leftovers {
    /// Whoever still runs of the system at this place. Nobody, if no node ever ran it.
    ///
    /// # Errors
    /// If a node runs the system, or its state cannot be read.
    pub async fn find(place: &Place) -> Result<Option<Self>, StartError> {
        let file = state_file(&place.data());
        if !file.exists() {
            return Ok(None);
        }
        let owner = Owner::take(place, None).await?;
        let state = Store::open(&format!("sqlite:{}", file.display()))?;
        let tokens = Tokens::open(&state, build::random_key()?).await?;
        let left = madang_supervisor::left(state.clone(), &|told| environment::bearer(&tokens, told)).await?;
        Ok((!left.is_empty()).then_some(Self { left, state, _owner: owner }))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.left.len()
    }

    /// Stops all of them at once, each with this much time to end its work. Says what becomes of each.
    pub async fn stop(self, drain: Duration, mut say: impl FnMut(&str)) {
        let mut stops = tokio::task::JoinSet::new();
        for one in self.left {
            let (id, pid) = (one.id.clone(), one.pid());
            stops.spawn(async move { (id, pid, one.stop(drain).await) });
        }
        while let Some(stopped) = stops.join_next().await {
            let Ok((id, pid, killed)) = stopped else { continue };
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            say(&format!("{id}{pid} {}", if killed { "killed" } else { "stopped" }));
        }
        // The system is stopped as a whole.
        if let Ok(stops) = Stops::open(&self.state).await {
            stops.forget_all().await;
        }
    }
}

/// The node's state in the folder of what is its own.
pub(crate) fn state_file(data: &Path) -> PathBuf {
    data.join("state.db")
}
