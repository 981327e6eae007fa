//! Ports that Madang chose itself and keeps: whoever was told one finds the same listener after a restart.
//!
//! They are outside the range of ephemeral ports, so that no outgoing connection sits on one while no node runs,
//! and outside the range from which instances are told theirs.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

use madang_model::{PortRule, System};
use madang_store::Store;
use tokio::net::TcpListener;
use tracing::warn;

const SCHEMA: &[&str] = &["CREATE TABLE ports_kept (key TEXT PRIMARY KEY, port INTEGER NOT NULL) STRICT"];

/// Where ports are chosen: below the ephemeral ones of Linux, above those of instances.
const RANGE: RangeInclusive<u16> = 30_000..=32_767;

/// The ports of a node's own listeners, by what each is for: `service-api`, `door/orders/payments`.
#[derive(Debug, Clone)]
pub(crate) struct KeptPorts(Store);

/// Whether a listener is where it was when it was opened last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// There was none before.
    New,
    Kept,
    /// Somebody else has its port; whoever was told that one must be told anew.
    Moved {
        from: u16,
    },
}

// === impl KeptPorts ===

impl KeptPorts {
    pub(crate) async fn open(state: &Store) -> Result<Self, madang_store::Error> {
        state.migrate("ports", SCHEMA).await?;
        Ok(Self(state.clone()))
    }

    /// Listens on loopback: on the port that is kept under this key if it can be had, or else on a new one, which
    /// is kept from then on. None of those that `system` insists on.
    ///
    /// # Errors
    /// If no port of the range can be had.
    pub(crate) async fn listener(&self, key: &str, system: &System) -> io::Result<(TcpListener, Place)> {
        let kept = self.kept().await;
        let mine = kept.iter().find(|(name, _)| name == key).map(|(_, port)| *port);
        let mut taken = insisted_on(system);
        if let Some(port) = mine.filter(|port| !taken.contains(port))
            && let Ok(listener) = bind(port).await
        {
            return Ok((listener, Place::Kept));
        }
        taken.extend(kept.iter().map(|(_, port)| *port));
        let (listener, port) = choose(&taken).await?;
        self.keep(key, port).await;
        Ok((listener, mine.map_or(Place::New, |from| Place::Moved { from })))
    }

    /// A port on loopback that others will listen on: the one that is kept under this key if it is free, or whoever has
    /// it is `mine`; or else a new one, which is kept from then on.
    ///
    /// # Errors
    /// If no port of the range can be had.
    pub(crate) async fn reserved(
        &self,
        key: &str,
        system: &System,
        mine: impl FnOnce(u16) -> bool + Send + 'static,
    ) -> io::Result<u16> {
        let kept = self.kept().await.into_iter().find(|(name, _)| name == key).map(|(_, port)| port);
        if let Some(port) = kept.filter(|port| !insisted_on(system).contains(port))
            && bind(port).await.is_err()
            && tokio::task::spawn_blocking(move || mine(port)).await.unwrap_or(false)
        {
            return Ok(port);
        }
        // Nobody listens here: the socket is closed again.
        let (listener, _) = self.listener(key, system).await?;
        Ok(listener.local_addr()?.port())
    }

    async fn kept(&self) -> Vec<(String, u16)> {
        let all = self.0.read(|conn| {
            let mut all = conn.prepare("SELECT key, port FROM ports_kept")?;
            all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        });
        all.await.unwrap_or_else(|error| {
            warn!(%error, "failed to read which ports are kept: new ones are chosen");
            Vec::new()
        })
    }

    /// One that cannot be written is good for this life of the node: those who are told it are told anew in the next.
    async fn keep(&self, key: &str, port: u16) {
        let row = (key.to_owned(), port);
        let insert =
            "INSERT INTO ports_kept VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET port = excluded.port";
        if let Err(error) = self.0.write(move |tx| tx.execute(insert, row)).await {
            warn!(key, port, %error, "failed to keep a port: it may be another after a restart");
        }
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// A listener on a free port that is none of `taken`. The search begins anywhere, so that systems that run one at a
/// time on a machine rarely choose each other's.
async fn choose(taken: &BTreeSet<u16>) -> io::Result<(TcpListener, u16)> {
    let (first, size) = (*RANGE.start(), RANGE.len());
    let start = getrandom::u32().map_err(io::Error::other)? as usize;
    let ports = (0..size).map(|step| first + ((start + step) % size) as u16);
    for port in ports.filter(|port| !taken.contains(port)) {
        match bind(port).await {
            Ok(listener) => return Ok((listener, port)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("every port of {RANGE:?} is taken")))
}

/// The ports that a program or a listener of a system insists on.
pub(crate) fn insisted_on(system: &System) -> BTreeSet<u16> {
    let fixed = system.units.values().filter_map(|unit| match unit.port {
        PortRule::Fixed(port) => Some(port),
        _ => None,
    });
    let listened = system.services.values().filter_map(|service| service.listen);
    fixed.chain(listened.map(|at| at.port())).chain([system.gateway.listen.port()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        kept: KeptPorts,
    }

    async fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        Fixture { folder, kept: KeptPorts::open(&state).await.unwrap() }
    }

    impl Fixture {
        async fn open(&self, key: &str, manifest: &str) -> (TcpListener, u16, Place) {
            std::fs::write(self.folder.path().join("madang.toml"), manifest).unwrap();
            let system = madang_model::manifest::load(self.folder.path(), &|_| None).unwrap().system;
            let (listener, place) = self.kept.listener(key, &system).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            (listener, port, place)
        }
    }

    const MANIFEST: &str = "services.users = { run = 'users' }";

    #[tokio::test]
    async fn a_listener_is_found_again_where_it_was() {
        let fixture = fixture().await;
        let (listener, port, place) = fixture.open("service-api", MANIFEST).await;
        assert_eq!(place, Place::New);
        assert!(RANGE.contains(&port), "{port}");
        let (_door, another, place) = fixture.open("door/orders/users", MANIFEST).await;
        assert!(another != port && place == Place::New);
        drop(listener);
        let (_listener, again, place) = fixture.open("service-api", MANIFEST).await;
        assert_eq!((again, place), (port, Place::Kept));
    }

    #[tokio::test]
    async fn one_whose_port_is_taken_moves_and_stays_where_it_moved_to() {
        let fixture = fixture().await;
        let (taken, from, _) = fixture.open("service-api", MANIFEST).await;
        let (moved, port, place) = fixture.open("service-api", MANIFEST).await;
        assert!(port != from && place == Place::Moved { from }, "{port} {place:?}");
        drop((taken, moved));
        let (_listener, again, place) = fixture.open("service-api", MANIFEST).await;
        assert_eq!((again, place), (port, Place::Kept));
    }

    #[tokio::test]
    async fn one_that_the_manifest_insists_on_now_is_given_up() {
        let fixture = fixture().await;
        let (listener, from, _) = fixture.open("service-api", MANIFEST).await;
        drop(listener);
        let insists = format!("services.users = {{ run = 'users', port = {from} }}");
        let (_listener, _, place) = fixture.open("service-api", &insists).await;
        assert_eq!(place, Place::Moved { from });
    }

    #[tokio::test]
    async fn the_port_of_a_listener_that_is_not_open_yet_is_not_given_to_another() {
        let fixture = fixture().await;
        let (listener, port, _) = fixture.open("door/a/b", MANIFEST).await;
        drop(listener);
        let all_but = (*RANGE.start()..=*RANGE.end()).filter(|one| *one != port).collect();
        assert_eq!(choose(&all_but).await.unwrap().1, port, "it is free");
        let all = RANGE.collect();
        assert_eq!(choose(&all).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
