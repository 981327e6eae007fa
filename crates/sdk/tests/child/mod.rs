//! A real process of services: this test binary again, told by a variable to be a service instead.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Which services the process is to be.
pub const ROLE: &str = "MADANG_TEST_ROLE";

/// A child process; killed if the test ends before it does.
pub struct Process {
    child: Child,
    log: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start(role: &str, environment: &[(&str, &str)]) -> Self {
        let binary = std::env::current_exe().unwrap();
        let mut command = Command::new(binary);
        command.args(["--exact", "role", "--nocapture"]).env_clear().env(ROLE, role);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        Self { child, log }
    }

    /// The next line of the log with this message.
    pub fn logged(&mut self, message: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the log ends without \"{message}\"");
            // The test harness writes lines of its own, and ends none before the first of ours.
            let json = line.find('{').map(|start| &line[start..]).unwrap_or_default();
            match serde_json::from_str::<Value>(json) {
                Ok(line) if line["message"] == message => return line,
                _ => continue,
            }
        }
    }

    /// Waits until it is ready; its URL.
    pub fn ready(&mut self) -> String {
        self.logged("ready")["url"].as_str().unwrap().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its failure; the message of its last words.
    pub fn fatal(&mut self) -> String {
        let (code, stderr) = self.ended();
        assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
        let line: Value = serde_json::from_str(&stderr).unwrap();
        line["message"].as_str().unwrap().to_owned()
    }

    /// Waits for its end: the exit code and what it wrote on stderr.
    pub fn ended(&mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().expect("it ends by itself");
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (code, stderr)
    }
}

/// Asks for a path of a process.
pub async fn get_from(url: &str, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Bytes) {
    let address = url.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}
