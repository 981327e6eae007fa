//! Requests in a closed loop from several clients, until told to stop.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{Answer, Client, PATIENCE};

/// Clients that ask for one path again and again, each one request at a time.
pub struct Load {
    clients: JoinSet<LoadReport>,
    stop: watch::Sender<bool>,
    answered: watch::Sender<usize>,
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
        let answered = watch::Sender::new(0);
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(one_client(address, path.to_owned(), stopped.clone(), answered.clone()));
        }
        Self { clients: tasks, stop, answered }
    }

    /// Waits until this many more requests were answered, well or not.
    ///
    /// # Panics
    /// If they never are.
    pub async fn answered(&self, count: usize) {
        let mut seen = self.answered.subscribe();
        let enough = *seen.borrow_and_update() + count;
        let waited = timeout(PATIENCE, seen.wait_for(|answered| *answered >= enough)).await;
        waited.expect("requests are answered").expect("the load runs");
    }

    /// Lets each client end its request, and says what became of all of them.
    ///
    /// # Panics
    /// If a client did.
    pub async fn stop(mut self) -> LoadReport {
        let _ = self.stop.send(true);
        let mut total = LoadReport::default();
        while let Some(report) = self.clients.join_next().await {
            total.add(report.expect("a client of the load does not panic"));
        }
        total
    }
}

async fn one_client(
    address: SocketAddr,
    path: String,
    stopped: watch::Receiver<bool>,
    answered: watch::Sender<usize>,
) -> LoadReport {
    let mut client = Client::new(address);
    let mut report = LoadReport::default();
    while !*stopped.borrow() {
        let began = Instant::now();
        let answer = client.get(&path).await;
        report.count(answer, began.elapsed());
        answered.send_modify(|count| *count += 1);
        // A client that fails at once must not become a busy loop.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    report
}
