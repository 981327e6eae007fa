//! A node in this process, and all that its owner has to speak to it.

use std::{path::Path, time::Duration};

use madang_node::{Node, NodeConfig, Place};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::{Mutex, MutexGuard},
    time::timeout,
};

/// A system of which nothing is started.
pub const MANIFEST: &str =
    "[system]\nname = \"walls\"\n[services.users]\nrun = false\nroutes = [\"/users/**\"]\n";

/// Held by each test, so that the threads of this process are those of its node.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A node that runs nothing, and what its owner has to speak to it.
pub struct Owner {
    node: Node,
    pub folder: tempfile::TempDir,
    /// Where the admin API and the dashboard are.
    pub host: String,
    pub token: String,
    pub cookie: String,
    _alone: MutexGuard<'static, ()>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Owner {
    pub async fn start() -> Self {
        Self::of(MANIFEST, Some("walls".to_owned())).await
    }

    /// Of a node that runs what a manifest says, at the ports that it says.
    pub async fn with(manifest: &str) -> Self {
        Self::of(manifest, None).await
    }

    async fn of(text: &str, isolated: Option<String>) -> Self {
        let alone = ALONE.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("madang.toml");
        std::fs::write(&manifest, text).unwrap();
        let socket = Place::new(folder.path(), isolated.as_deref()).socket();
        let config = NodeConfig { manifest, environment: None, workers: None, except: Vec::new(), isolated };
        let node = Node::start(config).await.unwrap();
        let socket = UnixStream::connect(socket).await.unwrap();
        let login = ask(socket, "GET", "/v1/login", &[("host", "localhost")]).await;
        let login: Value = serde_json::from_str(&login.body).unwrap();
        let host = login["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let token = std::fs::read_to_string(Path::new(login["token_file"].as_str().unwrap())).unwrap();
        let mut owner = Self { node, folder, host, token, cookie: String::new(), _alone: alone };
        let path = format!("/login?token={}", owner.token);
        let begun = owner.ask("GET", &path, &[("host", &owner.host)]).await;
        let cookie = begun.head.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
        owner.cookie = cookie.to_owned();
        owner
    }

    /// With all that proves who the owner is.
    pub async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str()), ("cookie", &self.cookie)];
        all.extend(fields);
        ask(TcpStream::connect(&self.host).await.unwrap(), method, path, &all).await
    }

    /// Changes the manifest, whole: half of one, or none, could be a good one that says something else.
    pub fn write(&self, manifest: &str) {
        let (new, path) = (self.folder.path().join("new"), self.folder.path().join("madang.toml"));
        std::fs::write(&new, manifest).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Sends the API a document.
    pub async fn post(&self, path: &str, document: &Value) -> Answer {
        let (bearer, document) = (format!("Bearer {}", self.token), document.to_string());
        let fields = [
            ("authorization", bearer.as_str()),
            ("host", &self.host),
            ("content-type", "application/json"),
            ("content-length", &document.len().to_string()),
        ];
        say(TcpStream::connect(&self.host).await.unwrap(), "POST", path, &fields, &document).await
    }

    /// What the API answers to a good question.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, &[("host", &self.host)]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub async fn stop(mut self) {
        self.node.stop_now();
        self.node.wait().await.unwrap();
    }
}

pub async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> Answer {
    let length = [("content-length", "0")];
    let length = if matches!(method, "GET" | "HEAD" | "OPTIONS") { &[][..] } else { &length };
    say(stream, method, path, &[fields, length].concat(), "").await
}

async fn say(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Answer { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
}
