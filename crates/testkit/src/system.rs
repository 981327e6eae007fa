//! A system under test: a copy of its manifests, the real `madang`, and what a user may do to it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use madang_wire::admin::{InstanceView, State};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{Answer, Client, PATIENCE, free_port, kill, processes_of, signal};

/// Which of the shop's two manifests is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// A process for each service.
    Processes,
    /// One process for all.
    Monolith,
}

/// A system's manifests in a temporary folder, ready to be changed and started.
pub struct Prepared {
    folder: TempDir,
    gateway: SocketAddr,
    environment: Option<String>,
    path: Option<PathBuf>,
    options: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A running system.
pub struct TestSystem {
    prepared: Prepared,
    node: Option<Child>,
}

/// The folder of the release build.
fn target() -> PathBuf {
    let built = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    built.unwrap_or_else(|| repository().join("target")).join("release")
}

fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A program of this repository, as `cargo xtask test` builds it.
///
/// # Panics
/// If it was not built.
pub fn binary(name: &str) -> PathBuf {
    let path = target().join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`, which builds it", path.display());
    path
}

/// A folder of the libraries that `cargo xtask test` installs for services in other languages.
///
/// # Panics
/// If it was not installed.
pub fn library(name: &str) -> PathBuf {
    let libraries = target().parent().map(|target| target.join("libraries")).unwrap_or_default();
    let path = libraries.join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`, which installs it", path.display());
    path
}

// === impl Prepared ===

impl Prepared {
    /// The shop of this repository, on ports of its own.
    ///
    /// # Panics
    /// If its files cannot be copied.
    pub fn shop() -> Self {
        let shop = repository().join("shop");
        let prepared = Self::empty();
        for manifest in
            ["madang.toml", "madang.monolith.toml", "madang.members.toml", "madang.monolith.members.toml"]
        {
            prepared.copy(&shop.join(manifest), manifest);
        }
        for service in ["users", "catalog", "orders", "payments", "storefront"] {
            let file = format!("{service}/service.toml");
            prepared.copy(&shop.join(&file), &file);
            let file = format!("{service}/service.members.toml");
            if shop.join(&file).exists() {
                prepared.copy(&shop.join(&file), &file);
            }
        }
        prepared
    }

    /// The example of services in several languages, on ports of its own.
    ///
    /// # Panics
    /// If its files cannot be copied.
    pub fn polyglot() -> Self {
        let example = repository().join("examples/polyglot");
        let prepared = Self::empty();
        prepared.copy(&example.join("madang.toml"), "madang.toml");
        for program in ["node/main.js", "python/main.py", "java/Main.java"] {
            prepared.write(program, &fs::read_to_string(example.join(program)).expect("a program"));
        }
        prepared
    }

    /// A system with this manifest, in which `{gateway}` stands for the gateway's port.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn with(manifest: &str) -> Self {
        let prepared = Self::empty();
        prepared.write("madang.toml", &manifest.replace("{gateway}", &prepared.gateway.port().to_string()));
        prepared
    }

    fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("madang-test-").tempdir().expect("a temporary folder");
        Self {
            folder,
            gateway: SocketAddr::from(([127, 0, 0, 1], free_port())),
            environment: None,
            path: None,
            options: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// The same, to be started in an environment, such as `production`.
    #[must_use]
    pub fn in_environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// The same, to be started with these options of `madang up`.
    #[must_use]
    pub fn with_options(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
        self
    }

    /// The same, to be started with this variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same on a machine that has every program of this one but these, as far as PATH tells.
    ///
    /// # Panics
    /// If a folder for the others cannot be made.
    #[must_use]
    pub fn without_programs(mut self, missing: &[&str]) -> Self {
        let folder = self.path().join("bin");
        fs::create_dir_all(&folder).expect("a folder for programs");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs =
            std::env::split_paths(&path).flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        for program in
            programs.flatten().filter(|program| !missing.iter().any(|name| program.file_name() == *name))
        {
            // Of several with one name the first is in force.
            let _ = std::os::unix::fs::symlink(program.path(), folder.join(program.file_name()));
        }
        self.path = Some(folder);
        self
    }

    /// The system's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the gateway will listen.
    pub fn gateway_address(&self) -> SocketAddr {
        self.gateway
    }

    /// Writes a file of the system whole, at once.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, file: &str, content: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().expect("a file in the folder")).expect("its folder");
        let staged = path.with_extension("staged");
        fs::write(&staged, content).and_then(|()| fs::rename(&staged, &path)).expect("the file");
    }

    /// Changes a file of the system.
    ///
    /// # Panics
    /// If `from` is not in it.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let content = fs::read_to_string(self.path().join(file)).expect("the file");
        assert!(content.contains(from), "{file} has no {from:?}:\n{content}");
        self.write(file, &content.replace(from, to));
    }

    /// Copies a manifest: nothing is built, programs are where they were built, ports are free ones.
    fn copy(&self, from: &Path, to: &str) {
        let content = fs::read_to_string(from).expect("a manifest of the repository");
        let release = target().display().to_string();
        let lines = content.lines().filter(|line| !line.starts_with("build ")).map(|line| {
            let line = line.replace("../../target/release", &release).replace("../target/release", &release);
            match line.split_once("listen = ") {
                Some((_, address)) if address.starts_with('"') => format!("listen = \"{}\"", self.gateway),
                Some(_) => format!("listen = {}", free_port()),
                None => line,
            }
        });
        self.write(to, &(lines.collect::<Vec<_>>().join("\n") + "\n"));
    }

    /// `madang` with these arguments, in the system's folder.
    pub fn madang(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("madang"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null()).kill_on_drop(false);
        command.env("XDG_RUNTIME_DIR", self.path().join("run")).env("NO_COLOR", "1").env_remove("MADANG_ENV");
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        fs::create_dir_all(self.path().join("run")).expect("a folder for the socket");
        command
    }

    /// Starts the system and waits until every unit is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn start(self, placement: Placement) -> TestSystem {
        let mut system = TestSystem { prepared: self, node: None };
        system.up(placement).await;
        system
    }

    /// Everything that still runs for this system.
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes_of(self.path())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            kill(pid);
        }
    }
}

// === impl TestSystem ===

impl std::ops::Deref for TestSystem {
    type Target = Prepared;
    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}

impl TestSystem {
    /// Starts `madang up` on one of the manifests and waits until every unit is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn up(&mut self, placement: Placement) {
        let manifest = match placement {
            Placement::Processes => "madang.toml",
            Placement::Monolith => "madang.monolith.toml",
        };
        let output = fs::File::create(self.path().join("up.log")).expect("a file for the output");
        let errors = output.try_clone().expect("the same file");
        let mut command = self.madang(&["up", manifest]);
        command.args(self.environment.iter().flat_map(|name| ["--env", name]));
        command.args(&self.options);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.node = Some(command.stdout(output).stderr(errors).spawn().expect("madang starts"));
        let ready = self.madang(&["wait", "--timeout", "60s"]).output().await.expect("madang wait runs");
        assert!(ready.status.success(), "not ready: {}\n{}", text(&ready), self.output());
    }

    /// What `madang up` has printed.
    pub fn output(&self) -> String {
        fs::read_to_string(self.path().join("up.log")).unwrap_or_default()
    }

    /// A client of the gateway.
    pub fn client(&self) -> Client {
        Client::new(self.gateway)
    }

    /// Gets a path through the gateway.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn get(&self, path: &str) -> Answer {
        self.client().get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Posts JSON through the gateway.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.client().post(path, &body, &[]).await.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Runs a command of `madang` and gives what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub async fn run(&self, args: &[&str]) -> String {
        let output = self.madang(args).output().await.expect("madang runs");
        assert!(output.status.success(), "madang {args:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The instances, as `madang ps` shows them.
    ///
    /// # Panics
    /// If it shows none.
    pub async fn ps(&self) -> Vec<InstanceView> {
        let shown = self.run(&["ps", "--format", "json"]).await;
        serde_json::from_str(&shown).unwrap_or_else(|error| panic!("ps: {error}: {shown}"))
    }

    /// What the admin API answers to this path.
    ///
    /// # Panics
    /// If it answers no JSON.
    pub async fn admin(&self, path: &str) -> Value {
        let body = self.admin_text(path).await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// What the admin API answers to this path, as text.
    ///
    /// # Panics
    /// If it answers none.
    pub async fn admin_text(&self, path: &str) -> String {
        String::from_utf8(self.asked(path).await).expect("text")
    }

    async fn asked(&self, path: &str) -> Vec<u8> {
        // The folder is this system's own, and its only socket the node's.
        let sockets = fs::read_dir(self.path().join("run/madang")).expect("the folder of the socket");
        let socket = sockets
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|it| it == "sock"));
        let mut stream = UnixStream::connect(socket.expect("a socket")).await.expect("the admin API listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: madang\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads the request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
        answer.split_off(head)
    }

    /// The process ids of a unit's ready instances.
    pub async fn pids(&self, unit: &str) -> Vec<u32> {
        let instances = self.ps().await.into_iter();
        let ready = instances.filter(|view| view.unit == unit && view.state == State::Ready);
        ready.filter_map(|view| view.pid).collect()
    }

    /// Waits until what `ps` shows is as it should be.
    ///
    /// # Panics
    /// If it never is.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&[InstanceView]) -> bool) {
        let began = Instant::now();
        loop {
            let shown = self.ps().await;
            if holds(&shown) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "never {what}: {shown:#?}\n{}", self.output());
            // Asked again rather than told, as a user of `ps` would.
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until `madang up` has printed this.
    ///
    /// # Panics
    /// If it never does.
    pub async fn until_printed(&self, text: &str) {
        let began = Instant::now();
        while !self.output().contains(text) {
            assert!(began.elapsed() < PATIENCE, "never printed {text:?}:\n{}", self.output());
            // A file tells nobody that it grew.
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills every process of a unit's instances at once, as `kill -9` does.
    ///
    /// # Panics
    /// If there is none.
    pub async fn kill(&self, unit: &str) -> Vec<u32> {
        let pids = self.pids(unit).await;
        assert!(!pids.is_empty(), "{unit} has no process");
        pids.iter().for_each(|pid| kill(*pid));
        pids
    }

    /// The process id of `madang`.
    ///
    /// # Panics
    /// If it does not run.
    pub fn node_pid(&self) -> u32 {
        self.node.as_ref().and_then(Child::id).expect("madang runs")
    }

    /// Sends a signal to `madang`, as a terminal would.
    pub fn signal(&self, which: Signal) {
        signal(self.node_pid(), which);
    }

    /// Kills `madang` as `kill -9` does, and waits until it is gone. Its services run on.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill_node(&mut self) {
        kill(self.node_pid());
        self.ended().await;
    }

    /// Waits until `madang` has ended, and gives its exit code.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut node = self.node.take().expect("madang runs");
        let status = timeout(PATIENCE, node.wait()).await.expect("madang ends").expect("its status");
        status.code()
    }

    /// Stops the system with `madang down` and waits until `madang` has ended.
    ///
    /// # Panics
    /// If either fails.
    pub async fn down(&mut self) {
        self.run(&["down"]).await;
        self.ended().await;
    }
}

impl Drop for TestSystem {
    fn drop(&mut self) {
        if let Some(pid) = self.node.as_ref().and_then(Child::id) {
            kill(pid);
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
