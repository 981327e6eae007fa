//! A node in a process of its own, which stays when this one is done.

use std::{
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{fs::FileExt, net::UnixStream as Pair},
    },
    process::Stdio,
};

use anyhow::Context;
use madang_model::ServiceName;
use madang_wire::admin::{Event, SystemView};
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    process::{Child, Command},
};

use super::{start, summary};
use crate::{
    args::Format,
    client::{Client, Lines},
    failure::Failure,
    locate::Location,
    screen::Screen,
    units::{elapsed, now},
};

/// How much of what the node said is shown if it does not start, in bytes.
const EXCERPT: u64 = 4096;

/// Starts a node in the background and shows what it does until every unit is ready.
pub async fn run(location: &Location, format: Format, except: &[ServiceName]) -> Result<(), Failure> {
    let client = Client::new(location);
    refuse_second(&client, location).await?;
    let loaded = crate::manifest::load(location)?;
    start::excepted(&loaded.system, except)?;
    let mut node = Background::start(location, except).await?;
    let mut events = match start::events(&client).await {
        Ok(events) => events,
        Err(Failure::NotRunning { .. }) => return Err(node.excerpt().await?),
        Err(failure) => return Err(failure),
    };
    let mut screen = Screen::new(format, loaded.system.units.keys().map(|unit| unit.as_str())).lasting();
    if let Err(failure) = start::follow(&client, &mut events, &mut screen).await {
        screen.settle();
        node.show_end(events, &mut screen).await?;
        return Err(failure);
    }
    if screen.output.is_json() {
        return Ok(());
    }
    let mut lines = summary::lines(&client, location, screen.output.style()).await?;
    lines.push(format!("\nStop it with `{}`.", location.command("down")));
    screen.tick()?;
    screen.settle();
    screen.keep(&lines)
}

/// Says who runs the system already, before anything is started for nothing.
async fn refuse_second(client: &Client, location: &Location) -> Result<(), Failure> {
    match client.get::<SystemView>("/v1/system").await {
        Err(Failure::NotRunning { .. }) => Ok(()),
        Err(failure) => Err(failure),
        Ok(system) => {
            let (name, pid, folder) = (&system.name, system.pid, system.folder().display());
            let since = elapsed(now().saturating_sub(system.started_at));
            let (ps, down) = (location.command("ps"), location.command("down"));
            Err(Failure::message(format!(
                "{name} in {folder} is already run by process {pid}, up for {since}: `{ps}` shows it and `{down}` \
                 stops it; `madang up --isolated` runs a second one beside it"
            )))
        }
    }
}

/// The process in the background.
struct Background {
    child: Child,
    /// What it says until it listens: kept in memory, as it may be that the disk is full.
    said: File,
}

// === impl Background ===

impl Background {
    /// Starts it and waits until it listens or is gone: it holds one end of a pair as its standard input, and
    /// closes it either way.
    async fn start(location: &Location, except: &[ServiceName]) -> Result<Self, Failure> {
        let said = memfd_create("madang-up", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let said = File::from(said);
        let (ours, theirs) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(std::env::current_exe()?)
            .args(["up", "--own-session"])
            .arg(location.given())
            // Also none: MADANG_ENV is not asked again.
            .arg(format!("--env={}", location.environment().unwrap_or_default()))
            .args(location.isolated().map(|name| format!("--isolated={name}")))
            .args(except.iter().map(|name| format!("--except={name}")))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?)
            .spawn()
            .context("failed to start a process in the background")?;
        UnixStream::from_std(ours)?.read_u8().await.err();
        Ok(Self { child, said })
    }

    /// What it said before it ended without ever listening.
    async fn excerpt(&mut self) -> Result<Failure, Failure> {
        let status = self.child.wait().await?;
        let size = self.said.metadata()?.len();
        let start = size.saturating_sub(EXCERPT);
        let mut excerpt = vec![0; (size - start) as usize];
        self.said.read_exact_at(&mut excerpt, start)?;
        let excerpt = String::from_utf8_lossy(&excerpt);
        Ok(Failure::message(format!("the node did not start ({status}):\n{}", excerpt.trim_end())))
    }

    /// It stops by itself what it had started: shows that, and waits until it is done.
    async fn show_end(&mut self, mut events: Lines<Event>, screen: &mut Screen) -> Result<(), Failure> {
        while let Ok(Some(event)) = events.next().await {
            screen.event(&event)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}
