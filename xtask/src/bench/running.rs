//! A running system and its first order, seen from outside.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::command;

/// How long a system may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the gateway is asked while it does not answer.
const PAUSE: Duration = Duration::from_millis(2);

/// A `madang up` in the foreground, its output in a file.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it.
    pub fn start(up: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join("up.log");
        let output = File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
        let errors = output.try_clone().context("failed to share the log")?;
        let child = up.stdout(output).stderr(errors).spawn().context("failed to start madang")?;
        Ok(Self { child, log })
    }

    /// The process id of what was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the gateway has taken an order.
    pub fn first_order(&mut self, gateway: SocketAddr) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let began = Instant::now();
            let mut last = "nothing".to_owned();
            while began.elapsed() < PATIENCE {
                if let Some(status) = self.child.try_wait().context("failed to ask for madang's state")? {
                    bail!("madang ended ({status}):\n{}", self.output());
                }
                match timeout(Duration::from_secs(30), order(gateway)).await {
                    Ok(Ok((StatusCode::CREATED, _))) => return Ok(()),
                    Ok(Ok((status, answer))) => last = format!("{status} {answer}"),
                    Ok(Err(error)) => last = error.to_string(),
                    Err(_) => last = "no answer in 30 s".to_owned(),
                }
                sleep(PAUSE).await;
            }
            bail!("no order went through; the last answer was {last}\n{}", self.output())
        })
    }

    /// Stops it as a terminal would, and waits until it has ended.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::INT).context("failed to stop madang")?;
        let status = self.child.wait().context("failed to wait for madang")?;
        if !status.success() {
            bail!("madang ended with {status}:\n{}", self.output());
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    /// A measurement that failed leaves nothing behind: asked politely, `madang` takes its services with it.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let stopped = self.signal(Signal::TERM).is_ok() && self.child.wait().is_ok();
            if !stopped {
                eprintln!("madang ({}) could not be stopped", self.pid());
            }
        }
    }
}

/// The release build of `madang` in a system's folder, its socket there too.
pub fn madang(folder: &Path) -> Result<Command> {
    let mut command = Command::new(command::release()?.join("madang"));
    command.current_dir(folder).env("XDG_RUNTIME_DIR", folder);
    Ok(command)
}

/// Places the smallest order over a connection of its own.
async fn order(gateway: SocketAddr) -> Result<(StatusCode, String)> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/orders")
        .header("host", gateway.to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(br#"{"user":1,"product":"Book"}"#)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
