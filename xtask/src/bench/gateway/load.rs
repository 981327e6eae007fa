//! Clients: a counted number of requests as fast as they are answered, or a steady rate with each one timed.

use std::{cell::Cell, net::SocketAddr, pin::Pin, rc::Rc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep_until},
};

use crate::bench::tls::Connector;

/// How many of them share an HTTP/2 connection.
const STREAMS: usize = 4;

/// What is asked, of whom.
#[derive(Clone, Copy)]
pub struct Load {
    /// The proxy.
    pub address: SocketAddr,
    /// Whether over HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// How many bytes each answer has.
    pub size: usize,
    /// How many requests are in flight at once.
    pub clients: usize,
    /// What each request says besides. It lives as long as the bench does.
    pub fields: &'static [(String, String)],
    /// How TLS is spoken to it; not at all if absent.
    pub tls: Option<&'static Connector>,
}

/// A connection, over TLS or not.
type Stream = Pin<Box<dyn Both>>;

trait Both: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Both for S {}

/// One client with its connection.
enum Client {
    Http1 { stream: Stream, request: Vec<u8>, came: Vec<u8> },
    Http2 { sender: SendRequest<Empty<Bytes>>, request: Request<()> },
}

impl Load {
    /// Sends this many requests, each client the next as soon as its last is answered.
    pub fn count(self, requests: usize) -> Result<()> {
        let left = Rc::new(Cell::new(requests));
        self.run(move |_, mut client, size| {
            let left = left.clone();
            async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    client.ask(size).await?;
                }
                Ok(Vec::new())
            }
        })
        .map(drop)
    }

    /// Sends this many requests a second for a time; returns how long each took from when it was due, sorted.
    pub fn pace(self, rate: u32, time: Duration) -> Result<Vec<Duration>> {
        let clients = self.clients as u32;
        let every = Duration::from_secs(1) * clients / rate;
        let begin = Instant::now() + Duration::from_millis(20);
        let mut took = self.run(move |number, mut client, size| async move {
            let mut due = begin + every * number as u32 / clients;
            let mut took = Vec::new();
            while due < begin + time {
                // A client that is still busy when a request is due sends it late, and that counts; that its
                // timer is coarse does not.
                let late = Instant::now() > due;
                sleep_until(due).await;
                let from = if late { due } else { Instant::now() };
                client.ask(size).await?;
                took.push(from.elapsed());
                due += every;
            }
            Ok(took)
        })?;
        took.sort_unstable();
        Ok(took)
    }

    fn run<F, R>(self, client: F) -> Result<Vec<Duration>>
    where
        F: Fn(usize, Client, usize) -> R,
        R: Future<Output = Result<Vec<Duration>>> + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let mut running = JoinSet::new();
            for (number, connected) in self.connect().await?.into_iter().enumerate() {
                running.spawn_local(client(number, connected, self.size));
            }
            let mut all = Vec::new();
            while let Some(ended) = running.join_next().await {
                all.extend(ended??);
            }
            Ok(all)
        })
    }

    async fn connect(self) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        while clients.len() < self.clients {
            let stream = self.dial().await?;
            let target = format!("/bytes/{}", self.size);
            let scheme = if self.tls.is_some() { "https" } else { "http" };
            if !self.http2 {
                let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                let request = format!(
                    "GET {target} HTTP/1.1\r\nhost: shop.example\r\nuser-agent: bench\r\naccept: */*\r\n{}\r\n",
                    fields.collect::<String>()
                );
                clients.push(Client::Http1 { stream, request: request.into(), came: Vec::new() });
                continue;
            }
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            for _ in 0..STREAMS.min(self.clients) {
                let mut request = Request::get(format!("{scheme}://shop.example{target}"))
                    .header("user-agent", "bench")
                    .header("accept", "*/*");
                for (name, value) in self.fields {
                    request = request.header(name, value);
                }
                let request = request.body(())?;
                clients.push(Client::Http2 { sender: sender.clone(), request });
            }
        }
        Ok(clients)
    }

    async fn dial(self) -> Result<Stream> {
        if let Some(tls) = self.tls {
            return Ok(Box::pin(tls.connect(self.address).await?));
        }
        let stream = TcpStream::connect(self.address).await.context("failed to connect to the proxy")?;
        stream.set_nodelay(true)?;
        Ok(Box::pin(stream))
    }
}

impl Client {
    async fn ask(&mut self, size: usize) -> Result<()> {
        match self {
            Self::Http1 { stream, request, came } => {
                stream.write_all(request).await?;
                read_answer(stream, came, size).await
            }
            Self::Http2 { sender, request } => {
                sender.ready().await?;
                let response = sender.send_request(request.clone().map(|()| Empty::new())).await?;
                ensure!(response.status() == 200, "the proxy answered {}", response.status());
                let mut body = response.into_body();
                let mut came = 0;
                while let Some(frame) = body.frame().await {
                    came += frame?.data_ref().map_or(0, Bytes::len);
                }
                ensure!(came == size, "{came} bytes came instead of {size}");
                Ok(())
            }
        }
    }
}

/// Reads one answer of a stated length.
async fn read_answer(stream: &mut Stream, came: &mut Vec<u8>, size: usize) -> Result<()> {
    came.clear();
    loop {
        ensure!(stream.read_buf(came).await? > 0, "the proxy closed the connection");
        let Some(end) = came.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        ensure!(came.starts_with(b"HTTP/1.1 200 "), "the proxy answered {}", String::from_utf8_lossy(came));
        let whole = end + 4 + size;
        while came.len() < whole {
            ensure!(stream.read_buf(came).await? > 0, "the proxy closed the connection");
        }
        ensure!(came.len() == whole, "more came than was asked for");
        return Ok(());
    }
}
