//! Services that run elsewhere: their names are resolved again and again, and what was found last stays in force
//! while nothing can be found.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use madang_calls::{Directory, Elsewhere, Trust};
use madang_model::{InstanceId, Protocol, Service, ServiceName, System, Url};
use madang_wire::{
    admin::{InstanceView, State},
    service::Endpoint,
};
use tokio::{
    sync::{OnceCell, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{node::now, rotation::Switchboard};

/// How long an answer is good, give or take a fifth, so that many names are not asked for at once.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon a name may be asked for again, after a connection that failed or an answer that did not come; the latter
/// doubles.
const SOONEST: Duration = Duration::from_secs(1);
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many addresses of one name are used.
const MOST: usize = 32;

/// Finds the addresses of a name.
type Resolve = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Where the services are that run elsewhere. Cloning gives the same.
#[derive(Clone)]
pub(crate) struct Outside {
    switchboard: Arc<Switchboard>,
    directory: Directory,
    resolve: Resolve,
    trust: Arc<OnceCell<Trust>>,
    known: Arc<Mutex<BTreeMap<ServiceName, Known>>>,
}

/// What is known of one name.
#[derive(Clone)]
struct Known {
    url: Url,
    addresses: Vec<SocketAddr>,
    /// When they were found, and since when they are these.
    found: Option<Instant>,
    since: u64,
    /// Why they could not be found since.
    trouble: Option<String>,
}

/// The task that asks for one name; it ends when this is dropped.
struct Following {
    url: Url,
    protocol: Protocol,
    task: AbortHandle,
}

// === impl Outside ===

impl Outside {
    /// With the resolver of this machine.
    pub(crate) fn new(switchboard: Arc<Switchboard>, directory: Directory) -> Self {
        let resolve: Resolve = Arc::new(|host, port| {
            async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) }.boxed()
        });
        Self { switchboard, directory, resolve, trust: Arc::default(), known: Arc::default() }
    }

    /// Follows the services that run elsewhere, as the manifest says which do, until told to stop.
    pub(crate) async fn run(self, mut system: watch::Receiver<Arc<System>>, stopped: CancellationToken) {
        let mut following: BTreeMap<ServiceName, Following> = BTreeMap::new();
        loop {
            let now = system.borrow_and_update().clone();
            let wanted = |name: &ServiceName| {
                now.services.get(name).and_then(|service| Some((service.url()?, service)))
            };
            let left = following.extract_if(.., |name, following| {
                !wanted(name).is_some_and(|(url, service)| {
                    *url == following.url && service.protocol == following.protocol
                })
            });
            for (name, following) in left.collect::<Vec<_>>() {
                drop(following);
                self.forget(&name);
            }
            for service in now.services.values() {
                if let Some(url) = service.url()
                    && !following.contains_key(&service.name)
                {
                    following.insert(service.name.clone(), self.begin(service, url));
                }
            }
            tokio::select! {
                () = stopped.cancelled() => return,
                changed = system.changed() => if changed.is_err() { return },
            }
        }
    }

    fn begin(&self, service: &Service, url: &Url) -> Following {
        let known =
            Known { url: url.clone(), addresses: Vec::new(), found: None, since: now(), trouble: None };
        self.known().insert(service.name.clone(), known);
        let follow = self.clone().follow(service.name.clone(), url.clone(), service.protocol);
        let task = tokio::spawn(follow).abort_handle();
        Following { url: url.clone(), protocol: service.protocol, task }
    }

    /// What is known of a service no longer holds.
    fn forget(&self, service: &ServiceName) {
        self.known().remove(service);
        let declared = self.switchboard.registry().snapshot().services.contains_key(service);
        if declared {
            self.switchboard.change(|registry| registry.replace(service, &[]));
        }
        self.directory.elsewhere(service, None);
    }

    /// Asks for a name for as long as it is polled.
    async fn follow(self, service: ServiceName, url: Url, protocol: Protocol) {
        let upstream = self.directory.upstream(&service);
        let mut failures = 0u32;
        loop {
            let asked = Instant::now();
            let pause = match self.find(&service, &url).await {
                Ok(addresses) => {
                    if failures > 0 {
                        info!(%service, %url, "its address is found again");
                    }
                    failures = 0;
                    self.found(&service, addresses, protocol);
                    PERIOD.mul_f64(jitter())
                }
                Err(error) => {
                    if failures == 0 {
                        let age = self.age(&service).map(|age| age.as_secs());
                        warn!(%service, %url, %error, age, "its address cannot be found; what was known stays in force");
                    }
                    self.troubled(&service, &error);
                    failures = failures.saturating_add(1);
                    let doubled = SOONEST * 2u32.saturating_pow(failures.min(6) - 1);
                    doubled.min(PERIOD).mul_f64(jitter())
                }
            };
            tokio::select! {
                () = sleep_until(asked + pause.max(SOONEST)) => {}
                () = async { upstream.astray().await; sleep_until(asked + SOONEST).await } => {}
            }
        }
    }

    /// The addresses of a service's name, and how its servers are spoken to, which is known once there are any.
    async fn find(&self, service: &ServiceName, url: &Url) -> io::Result<Vec<SocketAddr>> {
        let elsewhere = match url.is_tls() {
            true => Elsewhere::trusted(url.clone(), self.trust().await?)?,
            false => Elsewhere::plain(url.clone()).ok_or_else(|| io::Error::other("not an http URL"))?,
        };
        let resolving = timeout(PATIENCE, (self.resolve)(url.host().to_owned(), url.port()));
        let mut addresses = resolving.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        addresses.sort();
        addresses.dedup();
        addresses.truncate(MOST);
        if addresses.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        self.directory.elsewhere(service, Some(elsewhere));
        Ok(addresses)
    }

    /// The authorities of this machine, read when they are needed first.
    async fn trust(&self) -> io::Result<&Trust> {
        let read = || async {
            let read = tokio::task::spawn_blocking(Trust::of_this_machine).await;
            read.map_err(io::Error::other)?.map_err(io::Error::other)
        };
        self.trust.get_or_try_init(read).await
    }

    fn found(&self, service: &ServiceName, addresses: Vec<SocketAddr>, protocol: Protocol) {
        let endpoint = |address: &SocketAddr| Endpoint {
            instance: InstanceId(format!("{service}-{address}").into()),
            address: *address,
            protocol,
            release: None,
        };
        let endpoints: Vec<_> = addresses.iter().map(endpoint).collect();
        if let Some(known) = self.known().get_mut(service) {
            known.found = Some(Instant::now());
            known.trouble = None;
            if known.addresses != addresses {
                info!(%service, ?addresses, "its addresses are found");
                known.since = now();
                known.addresses = addresses;
            }
        }
        self.switchboard.change(|registry| registry.replace(service, &endpoints));
    }

    fn troubled(&self, service: &ServiceName, error: &io::Error) {
        if let Some(known) = self.known().get_mut(service) {
            known.trouble = Some(error.to_string());
        }
    }

    fn age(&self, service: &ServiceName) -> Option<Duration> {
        self.known().get(service)?.found.map(|found| found.elapsed())
    }

    /// The servers, as `ps` shows them; one line for a name of which none is known.
    pub(crate) fn views(&self) -> Vec<InstanceView> {
        let view = |(service, known): (&ServiceName, &Known), address: Option<&SocketAddr>| {
            let age = known.found.map(|found| format!("found {}s ago", found.elapsed().as_secs()));
            let refusal = self.directory.upstream(service).refusal();
            let said =
                [age, known.trouble.clone(), refusal].into_iter().flatten().collect::<Vec<_>>().join(", ");
            InstanceView {
                name: address.map_or_else(|| service.to_string(), |address| format!("{service}-{address}")),
                unit: service.to_string(),
                services: vec![service.to_string()],
                release: None,
                state: if address.is_some() { State::Ready } else { State::Waiting },
                health: format!("elsewhere: {}", if said.is_empty() { "looking for it" } else { &said }),
                restarts: 0,
                pid: None,
                memory: None,
                cpu_us: None,
                url: Some(known.url.to_string()),
                since: known.since,
                reason: None,
                log: None,
                lease_ends: None,
                by_hand: false,
            }
        };
        let known = self.known();
        let views = known.iter().flat_map(|entry| match entry.1.addresses.as_slice() {
            [] => vec![view(entry, None)],
            addresses => addresses.iter().map(|address| view(entry, Some(address))).collect(),
        });
        views.collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A factor from 0.8 to 1.2.
fn jitter() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use madang_discovery::Registry;
    use madang_store::Store;
    use tokio::time::sleep;

    use super::*;

    type Answer = Result<Vec<SocketAddr>, &'static str>;

    struct Fixture {
        folder: tempfile::TempDir,
        outside: Outside,
        system: watch::Sender<Arc<System>>,
        /// What the resolver says, and how often it was asked.
        says: Arc<Mutex<(Answer, usize)>>,
    }

    async fn fixture(manifest: &str) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let directory = Directory::default();
        let registry = Registry::open(&state).await.unwrap();
        tokio::time::pause();
        let switchboard = Arc::new(Switchboard::new(registry, directory.clone()));
        let says: Arc<Mutex<(Answer, usize)>> = Arc::new(Mutex::new((Err("no such name"), 0)));
        let resolve: Resolve = Arc::new({
            let says = says.clone();
            move |host, port| {
                let mut says = says.lock().unwrap();
                says.1 += 1;
                assert_eq!((host.as_str(), port), ("mail.example", 8025));
                let answer = says.0.clone().map_err(io::Error::other);
                async { answer }.boxed()
            }
        });
        let outside = Outside { resolve, ..Outside::new(switchboard, directory) };
        let system = watch::channel(load(&folder, manifest)).0;
        outside.switchboard.declare(system.borrow().services.keys().cloned());
        tokio::spawn(outside.clone().run(system.subscribe(), CancellationToken::new()));
        Fixture { folder, outside, system, says }
    }

    fn load(folder: &tempfile::TempDir, manifest: &str) -> Arc<System> {
        std::fs::write(folder.path().join("madang.toml"), manifest).unwrap();
        Arc::new(madang_model::manifest::load(folder.path(), &|_| None).unwrap().system)
    }

    impl Fixture {
        fn say(&self, answer: Answer) {
            self.says.lock().unwrap().0 = answer;
        }

        fn asked(&self) -> usize {
            std::mem::take(&mut self.says.lock().unwrap().1)
        }

        fn known(&self) -> Vec<SocketAddr> {
            let known = self.outside.switchboard.registry().snapshot();
            let mail = known.services.get("mail").cloned().unwrap_or_default();
            mail.instances.iter().map(|endpoint| endpoint.address).collect()
        }

        fn has_instance(&self) -> bool {
            self.outside.directory.upstream(&"mail".parse().unwrap()).has_instance()
        }
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 8025).into()
    }

    const MANIFEST: &str = "services.mail = { url = 'http://mail.example:8025' }";

    #[tokio::test]
    async fn what_was_found_last_stays_in_force_while_the_resolver_is_away() {
        let fixture = fixture(MANIFEST).await;
        sleep(Duration::from_secs(5)).await;
        assert!(fixture.known().is_empty() && fixture.asked() >= 2, "it is asked again soon");
        assert!(fixture.outside.views()[0].health.ends_with("no such name"));

        let both = vec![address(1), "[2001:db8::1]:8025".parse().unwrap()];
        fixture.say(Ok(both.clone()));
        sleep(PERIOD).await;
        assert_eq!(fixture.known(), both);
        fixture.asked();

        fixture.say(Err("the server failed"));
        sleep(Duration::from_secs(300)).await;
        assert_eq!(fixture.known(), both);
        assert!(fixture.has_instance());
        let health = fixture.outside.views()[0].health.clone();
        assert!(health.starts_with("elsewhere: found ") && health.ends_with("the server failed"), "{health}");
        assert!((8..=40).contains(&fixture.asked()), "it is asked again and again");

        fixture.say(Ok(vec![address(2)]));
        sleep(PERIOD * 2).await;
        assert_eq!(fixture.known(), [address(2)]);
    }

    #[tokio::test]
    async fn a_name_is_asked_for_about_every_half_minute() {
        let fixture = fixture(MANIFEST).await;
        fixture.say(Ok(vec![address(1)]));
        sleep(Duration::from_secs(60)).await;
        fixture.asked();
        sleep(PERIOD * 20).await;
        let asked = fixture.asked();
        assert!((16..=25).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn an_edit_of_the_url_forgets_what_was_found_at_the_old_one() {
        let fixture = fixture(&MANIFEST.replace("}", ", protocol = 'h2c' }")).await;
        fixture.say(Ok(vec![address(1)]));
        sleep(PERIOD).await;
        assert_eq!(fixture.known(), [address(1)]);
        fixture.say(Err("no such name"));
        fixture.system.send_replace(load(&fixture.folder, MANIFEST));
        sleep(Duration::from_millis(1)).await;
        assert!(fixture.known().is_empty() && !fixture.has_instance());

        fixture.say(Ok(vec![address(2)]));
        sleep(PERIOD).await;
        assert_eq!(fixture.known(), [address(2)]);
        let gone = load(&fixture.folder, "services.a = { run = 'a' }");
        fixture.outside.switchboard.declare(gone.services.keys().cloned());
        fixture.system.send_replace(gone);
        sleep(PERIOD).await;
        assert!(fixture.outside.views().is_empty() && !fixture.has_instance());
        let known = fixture.outside.switchboard.registry().snapshot();
        assert!(!known.services.contains_key("mail"), "nothing brings it back");
    }
}
