//! A browser as far as server-rendered pages need one: cookies, redirects, forms, server-sent events. No script runs.

use std::{collections::BTreeMap, io, net::SocketAddr};

use http::{Method, StatusCode, header};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    time::timeout,
};

use crate::{Answer, Client, Form, PATIENCE, html};

/// Somebody's browser.
pub struct Browser {
    address: SocketAddr,
    client: Client,
    cookies: BTreeMap<String, String>,
}

/// A page as the browser shows it.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it is, after all redirects.
    pub path: String,
    /// Its status.
    pub status: StatusCode,
    /// Its HTML.
    pub html: String,
}

/// Server-sent events, as they come.
pub struct EventStream {
    lines: Lines<BufReader<TcpStream>>,
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerSent {
    /// Its name.
    pub event: String,
    /// Its data.
    pub data: String,
}

impl Browser {
    /// A browser without cookies, for one site.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, client: Client::new(address), cookies: BTreeMap::new() }
    }

    /// The same browser's cookies in another window.
    pub fn window(&self) -> Self {
        Self { cookies: self.cookies.clone(), ..Self::new(self.address) }
    }

    /// Opens a page.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn open(&mut self, path: &str) -> Page {
        self.go(Method::GET, path, String::new()).await
    }

    /// Sends a form and shows where that leads.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn submit(&mut self, form: &Form) -> Page {
        let fields = form.encoded();
        match form.method {
            Method::GET => self.open(&format!("{}?{fields}", form.action)).await,
            _ => self.go(Method::POST, &form.action, fields).await,
        }
    }

    /// Sends one request with the cookies and keeps those of the answer; follows nothing.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn send(&mut self, method: Method, path: &str, body: String) -> Answer {
        let cookies = self.cookie_header();
        let headers = [
            ("cookie", cookies.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("sec-fetch-site", "same-origin"),
        ];
        let answer = self.client.send(method.clone(), path, &headers, body).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("a cookie is text");
            let (name, rest) = cookie.split_once('=').expect("a cookie has a value");
            let value = rest.split(';').next().unwrap_or_default();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    /// Listens to a stream of server-sent events.
    ///
    /// # Panics
    /// If it is not one.
    pub async fn events(&self, path: &str) -> EventStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let cookies = self.cookie_header();
        // Of HTTP/1.0, so that the events come as they are and not in chunks.
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\ncookie: {cookies}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await.expect("an answer").unwrap_or_default();
        assert!(status.contains(" 200 "), "{path}: {status}");
        while lines.next_line().await.expect("the head").is_some_and(|line| !line.is_empty()) {}
        EventStream { lines }
    }

    fn cookie_header(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    async fn go(&mut self, method: Method, path: &str, body: String) -> Page {
        let mut path = path.to_owned();
        let mut answer = self.send(method, &path, body).await;
        for _ in 0..10 {
            if !answer.status.is_redirection() {
                return Page { path, status: answer.status, html: answer.text() };
            }
            path = answer.headers[header::LOCATION].to_str().expect("a location is text").to_owned();
            answer = self.send(Method::GET, &path, String::new()).await;
        }
        panic!("{path}: redirected in a circle");
    }
}

// === impl Page ===

impl Page {
    /// Whether it has this in its HTML.
    pub fn has(&self, text: &str) -> bool {
        self.html.contains(text)
    }

    /// The form that is sent to this address.
    ///
    /// # Panics
    /// If there is none.
    pub fn form(&self, action: &str) -> Form {
        let mut forms = self.forms(action);
        assert!(!forms.is_empty(), "no form for {action} on {}: {} {}", self.path, self.status, self.html);
        forms.swap_remove(0)
    }

    /// All forms that are sent to this address, in their order.
    pub fn forms(&self, action: &str) -> Vec<Form> {
        html::forms(&self.html).into_iter().filter(|form| form.action == action).collect()
    }
}

// === impl EventStream ===

impl EventStream {
    /// The next event; nothing at the end of the stream.
    ///
    /// # Panics
    /// If neither comes.
    pub async fn next(&mut self) -> Option<ServerSent> {
        timeout(PATIENCE, self.read()).await.expect("an event comes").unwrap_or_default()
    }

    async fn read(&mut self) -> io::Result<Option<ServerSent>> {
        let mut event = ServerSent::default();
        while let Some(line) = self.lines.next_line().await? {
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event.event),
                Some(("data", data)) => event.data.push_str(data),
                // A comment that keeps the stream alive has no name.
                _ if line.is_empty() && !event.event.is_empty() => return Ok(Some(event)),
                _ => {}
            }
        }
        Ok(None)
    }
}
