//! The proxies that are compared, each as one process with one worker, and what they used.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::{bench::process, command::program};

/// A running process; it is killed when it is dropped.
pub struct Running {
    child: Child,
    /// What it is called in the table.
    pub name: &'static str,
    /// Where it takes HTTP/1.1.
    pub http1: SocketAddr,
    /// Where it takes HTTP/2 by prior knowledge.
    pub http2: SocketAddr,
    /// What each request to it says besides.
    pub fields: &'static [(String, String)],
}

/// The core that the proxies run on; clients and the upstream have another.
pub const PROXY_CORE: &str = "0";
const OTHER_CORE: &str = "1";

/// A policy with every layer of a call on.
const ALL: &str = r#"{ attempt_timeout = "5s", hedge = "p99", concurrency = { limit = 256, queue = 64, wait = "1s" },
per_caller = 200, breaker = { failures = 5, slow = "1s", slow_rate = 50 }, ejection = { slow = "1s", slow_rate = 50 }, priority = "critical",
fallback = { status = 503, body = "later" }, faults = [{ on = "POST /never", status = 503 }] }"#;

/// Starts the upstream.
pub fn upstream(xtask: &Path) -> Result<Running> {
    let listen = free_address()?;
    let mut command = pinned(OTHER_CORE, xtask);
    command.args(["bench", "upstream", "--listen", &listen.to_string()]);
    Running::start("upstream", &mut command, listen, listen)
}

/// A proxy of hyper and nothing else; its instructions are counted if there is a file to write them to.
pub fn bare(xtask: &Path, upstream: SocketAddr, profile: Option<&Path>) -> Result<Running> {
    let (http1, http2) = (free_address()?, free_address()?);
    let mut command = counted(xtask, profile);
    command.args(["bench", "bare-proxy", "--http1", &http1.to_string(), "--http2", &http2.to_string()]);
    command.args(["--upstream", &upstream.to_string()]);
    Running::start("bare hyper", &mut command, http1, http2)
}

/// The gateway of Madang; its instructions are counted if there is a file to write them to.
pub fn madang(proxy: &Path, upstream: SocketAddr, profile: Option<&Path>) -> Result<Running> {
    let listen = free_address()?;
    let mut command = counted(proxy, profile);
    command.args([listen.to_string(), upstream.to_string()]);
    Running::start("Madang", &mut command, listen, listen)
}

/// The same where each request says besides what those to another proxy say.
pub fn madang_asked_as(
    like: &Running,
    proxy: &Path,
    upstream: SocketAddr,
    profile: Option<&Path>,
) -> Result<Running> {
    let mut running = madang(proxy, upstream, profile)?;
    running.name = "Madang, same";
    running.fields = like.fields;
    Ok(running)
}

/// The same with every layer of a call on.
pub fn madang_with_all(proxy: &Path, upstream: SocketAddr) -> Result<Running> {
    let listen = free_address()?;
    let mut command = pinned(PROXY_CORE, proxy);
    command.args([&listen.to_string(), &upstream.to_string(), ALL]);
    Running::start("Madang, all", &mut command, listen, listen)
}

/// What the gateway does itself: a limit that is never met, pages of another origin, a largest body.
const EDGE: &str = r#"{ rate_limit = { rate = "1000000/s", per = "principal" }, max_body = "1MiB",
cors = { origins = ["https://shop.example"], credentials = true } }"#;

/// The same with tokens that are verified, a limit, CORS and a largest body; its instructions are counted if there
/// is a file to write them to.
pub fn madang_with_edge(
    proxy: &Path,
    folder: &Path,
    upstream: SocketAddr,
    profile: Option<&Path>,
) -> Result<Running> {
    let (listen, token) = (free_address()?, folder.join("token"));
    let mut command = counted(proxy, profile);
    command.args([&listen.to_string(), &upstream.to_string(), "{}", EDGE]).arg(&token);
    let mut running = Running::start("Madang, edge", &mut command, listen, listen)?;
    let until = Instant::now() + Duration::from_secs(10);
    let token = loop {
        match fs::read_to_string(&token) {
            Ok(token) if !token.is_empty() => break token,
            _ if Instant::now() > until => bail!("the proxy gives no token"),
            _ => sleep(Duration::from_millis(10)),
        }
    };
    let fields =
        [("authorization", format!("Bearer {token}")), ("origin", "https://shop.example".to_owned())];
    // As long as the bench runs, which ends with the program.
    let fields = Vec::leak(fields.map(|(name, value)| (name.to_owned(), value)).into());
    running.fields = fields;
    Ok(running)
}

/// Another build of Madang's gateway.
pub fn other(proxy: &Path, upstream: SocketAddr) -> Result<Running> {
    let listen = free_address()?;
    let mut command = pinned(PROXY_CORE, proxy);
    command.args([listen.to_string(), upstream.to_string()]);
    Running::start("beside", &mut command, listen, listen)
}

/// The same with answers that are kept.
pub fn madang_with_cache(proxy: &Path, upstream: SocketAddr) -> Result<Running> {
    let listen = free_address()?;
    let mut command = pinned(PROXY_CORE, proxy);
    command.args([&listen.to_string(), &upstream.to_string(), "{}", "{ cache = { ttl = \"1h\" } }"]);
    Running::start("Madang, kept", &mut command, listen, listen)
}

/// nginx with one process, keep-alive to the upstream and no access log.
pub fn nginx(folder: &Path, upstream: SocketAddr) -> Result<Running> {
    nginx_with("nginx", "", "", folder, upstream)
}

/// The same with its cache, in files that the kernel has in memory.
pub fn nginx_with_cache(folder: &Path, upstream: SocketAddr) -> Result<Running> {
    let path = format!(
        "sendfile on; tcp_nopush on;
  proxy_cache_path {}/cache levels=1:2 keys_zone=one:10m max_size=64m inactive=1h use_temp_path=off;",
        folder.display()
    );
    let rule = "proxy_cache one; proxy_cache_valid 200 1h; proxy_cache_key $scheme$host$request_uri;";
    nginx_with("nginx, kept", &path, rule, folder, upstream)
}

fn nginx_with(
    name: &'static str,
    all: &str,
    rule: &str,
    folder: &Path,
    upstream: SocketAddr,
) -> Result<Running> {
    let (http1, http2) = (free_address()?, free_address()?);
    let listens = format!("listen {http1}; listen {http2} http2;");
    let mut command = nginx_of(folder, all, &listens, rule, upstream)?;
    Running::start(name, &mut command, http1, http2)
}

/// What starts nginx with this in its file: for all of HTTP, for the server, for each request.
pub fn nginx_of(folder: &Path, all: &str, server: &str, rule: &str, upstream: SocketAddr) -> Result<Command> {
    let at = folder.display();
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid;
error_log {at}/nginx.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 75s;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
  fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  {all}
  upstream service {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    {server}
    location / {{
      {rule}
      proxy_pass http://service; proxy_http_version 1.1;
      proxy_set_header Connection \"\"; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"
    );
    let file = write(folder, "nginx.conf", &text)?;
    let mut command = pinned(PROXY_CORE, Path::new("/usr/sbin/nginx"));
    command.arg("-c").arg(file);
    Ok(command)
}

/// HAProxy with one thread, keep-alive to the upstream and no log.
pub fn haproxy(folder: &Path, upstream: SocketAddr) -> Result<Running> {
    let (http1, http2) = (free_address()?, free_address()?);
    let text = format!(
        "global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  option http-keep-alive
  http-reuse always
frontend one
  bind {http1}
  bind {http2} proto h2
  option forwardfor
  default_backend service
backend service
  server one {upstream} pool-max-conn 64
"
    );
    let file = write(folder, "haproxy.cfg", &text)?;
    let mut command = pinned(PROXY_CORE, Path::new("/usr/sbin/haproxy"));
    command.arg("-db").arg("-f").arg(file);
    Running::start("HAProxy", &mut command, http1, http2)
}

/// A program that runs on one core; its threads too.
pub fn pinned(core: &str, path: &Path) -> Command {
    let mut command = program("taskset");
    command.args(["--cpu-list", core]).arg(path);
    command
}

/// A proxy, whose instructions callgrind counts if there is a file to write them to.
fn counted(path: &Path, profile: Option<&Path>) -> Command {
    let Some(profile) = profile else { return pinned(PROXY_CORE, path) };
    let mut command = pinned(PROXY_CORE, Path::new("valgrind"));
    let file = format!("--callgrind-out-file={}", profile.display());
    command.args(["--quiet", "--tool=callgrind", &file]).arg(path);
    command
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}

/// An address that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

// === impl Running ===

impl Running {
    /// Starts it, and waits until it listens.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        http1: SocketAddr,
        http2: SocketAddr,
    ) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let mut running = Self { child, name, http1, http2, fields: &[] };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(http1).and_then(|_| TcpStream::connect(http2)).is_err() {
            if let Some(status) = running.child.try_wait()? {
                bail!("{name} ended as it started ({status})");
            }
            if Instant::now() > until {
                bail!("{name} does not listen on {http1} and {http2}");
            }
            sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// The time that it ran on a core so far, in user and system mode, over all its threads.
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.child.id())
    }

    /// Has it end by itself, with time to write what it counted.
    pub fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("failed to end a proxy")?;
        self.child.wait().context("failed to wait for a proxy")?;
        Ok(())
    }

    /// Its resident memory in bytes.
    pub fn resident(&self) -> Result<u64> {
        Ok(process::memory(self.child.id())?.resident)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
