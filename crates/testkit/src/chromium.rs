//! A browser in a test: Chromium without a window, driven over a pipe by the DevTools protocol.
//!
//! The protocol is JSON with ids over two file descriptors, so that this needs neither a library that knows all of it
//! nor a WebSocket: it builds in no time.

mod tab;

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::PATIENCE;

pub use tab::Tab;

/// Chromium may read from descriptor 3 and write to 4; what it inherits is 0 and 1.
const PIPE: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// So that it reaches for nothing outside, and runs where it is root.
const OPTIONS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A running browser with a profile of its own, which is gone with it.
pub struct Chromium {
    wire: Arc<Wire>,
    _child: Child,
    _profile: TempDir,
}

/// The way to the browser, which its pages share.
pub(crate) struct Wire {
    sender: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// Where what happens in each page goes, by its session.
    pages: Mutex<HashMap<String, mpsc::UnboundedSender<Value>>>,
    next: AtomicU64,
}

// === impl Chromium ===

impl Chromium {
    /// Starts one.
    ///
    /// # Panics
    /// If Chromium is not on this machine or does not start.
    pub async fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("madang-browser-").tempdir().expect("a profile");
        let mut command = Command::new("sh");
        command.args(["-c", PIPE, "chromium"]).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.env("HOME", profile.path()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("chromium starts");
        let (input, output) =
            (child.stdin.take().expect("its input"), child.stdout.take().expect("its output"));
        let (sender, receiver) = mpsc::unbounded_channel();
        let wire = Arc::new(Wire {
            sender,
            waiting: Mutex::default(),
            pages: Mutex::default(),
            next: AtomicU64::new(1),
        });
        tokio::spawn(write(input, receiver));
        tokio::spawn(read(output, wire.clone()));
        wire.ask(None, "Browser.getVersion", json!({})).await;
        Self { wire, _child: child, _profile: profile }
    }

    /// Opens an empty page in a context of its own, without anybody else's cookies.
    pub async fn page(&self) -> Tab {
        let context = self.wire.ask(None, "Target.createBrowserContext", json!({})).await;
        let options = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
        let target = self.wire.ask(None, "Target.createTarget", options).await;
        let options = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.wire.ask(None, "Target.attachToTarget", options).await;
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let (sender, receiver) = mpsc::unbounded_channel();
        self.wire.pages.lock().expect("nobody panics").insert(session.clone(), sender);
        Tab::new(self.wire.clone(), session, receiver).await
    }
}

// === impl Wire ===

impl Wire {
    /// Has the browser do something, and gives what comes of it.
    ///
    /// # Panics
    /// If it refuses, or does not answer.
    pub(crate) async fn ask(&self, session: Option<&str>, method: &str, options: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().expect("nobody panics").insert(id, sender);
        let mut message = json!({"id": id, "method": method, "params": options});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.sender.send(bytes).expect("the browser runs");
        let answer = timeout(PATIENCE, receiver).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {method}")).expect("the browser runs");
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }
}

async fn write(mut input: ChildStdin, mut messages: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        if input.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn read(output: ChildStdout, wire: Arc<Wire>) {
    let mut output = BufReader::new(output);
    let mut message = Vec::new();
    while output.read_until(0, &mut message).await.is_ok_and(|read| read > 0) {
        message.pop();
        let said: Value = serde_json::from_slice(&message).unwrap_or_default();
        message.clear();
        if let Some(id) = said["id"].as_u64() {
            if let Some(waits) = wire.waiting.lock().expect("nobody panics").remove(&id) {
                let _ = waits.send(said);
            }
        } else if let Some(session) = said["sessionId"].as_str()
            && let Some(page) = wire.pages.lock().expect("nobody panics").get(session)
        {
            let _ = page.send(said);
        }
    }
}

/// Where pictures of pages are left for whoever wants to see them.
pub(crate) fn pictures() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a repository");
    target.unwrap_or_else(|| here.join("target")).join("pictures")
}
