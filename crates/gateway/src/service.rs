//! The gateway as a running part of a node: its threads, from start to stop.

use std::{sync::Arc, thread};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Config, Error, Handle, Listener, Snapshot,
    acceptor::{self, Crew},
    worker::Worker,
};

/// The threads of a gateway. Dropping it closes the listeners without waiting for requests in flight.
pub struct Gateway {
    handle: Handle,
    acceptor: Thread,
    workers: Vec<Thread>,
}

/// A thread that says when it ends.
struct Thread {
    name: String,
    ended: oneshot::Receiver<()>,
}

impl Gateway {
    /// Starts a gateway. When this returns its listeners are open.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a thread cannot be started.
    pub async fn start(config: Config, snapshot: Snapshot) -> Result<(Self, Handle), Error> {
        Self::start_with(config, snapshot, Vec::new()).await
    }

    /// The same, with sockets that are open already: each is used for the address that it was bound by or,
    /// if it was taken over, listens on.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub async fn start_with(
        config: Config,
        snapshot: Snapshot,
        listeners: Vec<Listener>,
    ) -> Result<(Self, Handle), Error> {
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        for number in 0..config.worker_count() {
            let worker = Arc::new(Worker::new(&config));
            let (queue, queued) = mpsc::unbounded_channel();
            let run = worker.clone().run(config.clone(), queued);
            threads.push(Thread::start(format!("gateway-{number}"), run)?);
            workers.push((worker, queue));
        }
        let handles = workers.iter().map(|(worker, _)| worker.clone()).collect();
        let room = || Arc::new(Semaphore::new(config.connections.min(Semaphore::MAX_PERMITS)));
        let (opened, to_open) = mpsc::unbounded_channel();
        // The acceptor holds the only senders, so that its end tells the workers that no more will come.
        let crew = Crew { workers: workers.into(), outside: room(), inside: room() };
        let acceptor = Thread::start("gateway-accept".to_owned(), acceptor::run(to_open, crew))?;

        let handle = Handle::new(handles, snapshot.clone(), opened);
        handle.change(snapshot, listeners).await?;
        Ok((Self { handle: handle.clone(), acceptor, workers: threads }, handle))
    }

    /// The first half of a stop: the gateway's own listeners close, and the requests in flight there get
    /// [`Config::drain_time`] to end. The listeners of services stay open, because the services may need them
    /// to answer these requests. From here on no snapshot is applied.
    ///
    /// It goes on without whoever stops waiting for it.
    pub async fn drain(&self) {
        self.handle.drain().await;
    }

    /// Stops it: drains it unless that is done, then closes the listeners of services in the same way.
    ///
    /// # Errors
    /// If one of its threads ended before it was told to.
    pub async fn stop(mut self) -> Result<(), Error> {
        let lost = [&mut self.acceptor].into_iter().chain(&mut self.workers).find_map(Thread::is_lost);
        self.handle.drain().await;
        self.handle.close().await;
        self.acceptor.join().await;
        for worker in self.workers {
            worker.join().await;
        }
        lost.map_or(Ok(()), |name| Err(Error::ThreadLost { name }))
    }
}

// === impl Thread ===

impl Thread {
    /// Runs a future on a thread with a runtime of its own.
    fn start(name: String, run: impl Future<Output = ()> + Send + 'static) -> Result<Self, Error> {
        let failed = |source| Error::Thread { name: name.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (alive, ended) = oneshot::channel();
        let body = move || {
            let _alive: oneshot::Sender<()> = alive;
            runtime.block_on(run);
        };
        thread::Builder::new().name(name.clone()).spawn(body).map_err(failed)?;
        Ok(Self { name, ended })
    }

    fn is_lost(&mut self) -> Option<String> {
        let running = matches!(self.ended.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        (!running).then(|| self.name.clone())
    }

    async fn join(self) {
        // Nothing is left to wait for once it was found to be lost.
        if !self.ended.is_terminated() {
            let _ = self.ended.await;
        }
    }
}
