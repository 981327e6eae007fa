//! Requests in a closed loop from several clients, until told to stop.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{Answer, Client};

/// Clients that ask for one path again and again, each one request at a time.
pub struct Load {
    clients: JoinSet<LoadReport>,
    stop: watch::Sender<bool>,
    answered: Arc<Notify>,
}

/// What became of the requests of a load.
#[derive(Debug, Default, Clone)]
pub struct LoadReport {
    /// Requests answered 2xx.
    pub succeeded: usize,
    /// All others, by status or error, with how often each came.
    pub failed: BTreeMap<String, usize>,
    /// The longest that a request took.
    pub slowest: Duration,
}

impl LoadReport {
    fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    fn count(&mut self, answer: std::io::Result<Answer>, took: Duration) {
        self.slowest = self.slowest.max(took);
        let failure = match answer {
            Ok(answer) if answer.status.is_success() => return self.succeeded += 1,
            Ok(answer) => format!("{} {}", answer.status, answer.text()),
            Err(error) => error.to_string(),
        };
        *self.failed.entry(failure).or_default() += 1;
    }
}

impl Load {
    /// Starts `clients` that get `path` at `address`.
    pub fn start(address: SocketAddr, path: &str, clients: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let answered = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(one_client(address, path.to_owned(), stopped.clone(), answered.clone()));
        }
        Self { clients: tasks, stop, answered }
    }

    /// Waits until this many more requests were answered.
    pub async fn answered(&self, count: usize) {
        for _ in 0..count {
            self.answered.notified().await;
        }
    }

    /// Lets each client end its request, and says what became of all of them.
    pub async fn stop(mut self) -> LoadReport {
        let _ = self.stop.send(true);
        let mut total = LoadReport::default();
        while let Some(report) = self.clients.join_next().await {
            total.add(report.unwrap_or_default());
        }
        total
    }
}

async fn one_client(
    address: SocketAddr,
    path: String,
    stopped: watch::Receiver<bool>,
    answered: Arc<Notify>,
) -> LoadReport {
    let mut client = Client::new(address);
    let mut report = LoadReport::default();
    while !*stopped.borrow() {
        let began = Instant::now();
        let answer = client.get(&path).await;
        report.count(answer, began.elapsed());
        answered.notify_one();
        // A client that fails at once must not become a busy loop.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    report
}
