//! Two services for measuring what a call costs: `callee` answers, and `caller` asks it at a steady rate, directly,
//! through its door, or with the SDK's own calls. `cargo xtask bench doors` runs them under a node.

use std::{env, fs, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use madang::{
    Calls, Error, Json, Path, Query, Result, Service,
    axum::{Router, routing::get},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How to ask.
#[derive(Debug, Clone, Deserialize)]
struct Measure {
    way: Way,
    /// Requests a second.
    rate: u32,
    /// How many ask at once.
    connections: u32,
    /// For how long, in seconds.
    seconds: u32,
    /// The size of an answer, in bytes.
    size: usize,
    /// Where an instance of the callee listens.
    callee: SocketAddr,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Direct,
    Door,
    Sdk,
}

/// What was measured: times in microseconds, CPU of this process over all requests.
#[derive(Debug, Serialize)]
struct Measured {
    requests: usize,
    p50: f64,
    p90: f64,
    p99: f64,
    cpu: f64,
}

/// One who asks.
enum Asker {
    Connection { sender: SendRequest<Empty<Bytes>>, host: String },
    Calls(Box<Calls>),
}

fn main() {
    let services: Vec<Service> = match env::args().nth(1).as_deref() {
        Some("callee") => vec![callee()],
        Some("caller") => vec![caller()],
        _ => panic!("say `callee` or `caller`"),
    };
    madang::run(services);
}

fn callee() -> Service {
    let answer = async |Path(size): Path<usize>| vec![b'x'; size.min(1 << 20)];
    Service::new("callee").routes(Router::new().route("/bytes/{size}", get(answer)))
}

fn caller() -> Service {
    Service::new("caller").routes(Router::new().route("/measure", get(measure)))
}

async fn measure(Query(how): Query<Measure>, calls: Calls) -> Result<Json<Measured>> {
    let how = Arc::new(how);
    let every = Duration::from_secs(1) * how.connections / how.rate;
    let mut askers = Vec::new();
    for _ in 0..how.connections {
        let mut asker = Asker::connect(&how, &calls).await?;
        asker.ask(how.size).await?; // the first makes connections
        askers.push(asker);
    }
    let before = cpu()?;
    let begin = Instant::now() + Duration::from_millis(20);
    let end = begin + Duration::from_secs(how.seconds.into());
    let mut asking = JoinSet::new();
    for (number, mut asker) in (0..).zip(askers) {
        let (mut due, size) = (begin + every * number / how.connections, how.size);
        asking.spawn(async move {
            let mut took = Vec::new();
            while due < end {
                // Late because the last answer was: that counts. Late because timers are coarse: that does not.
                let late = Instant::now() > due;
                sleep_until(due).await;
                let from = if late { due } else { Instant::now() };
                asker.ask(size).await?;
                took.push(from.elapsed());
                due += every;
            }
            Ok::<_, Error>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(done) = asking.join_next().await {
        took.extend(done.map_err(Error::internal)??);
    }
    let cpu = (cpu()? - before) / 1e3 / took.len() as f64;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Ok(Json(Measured { requests: took.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99), cpu }))
}

impl Asker {
    async fn connect(how: &Measure, calls: &Calls) -> Result<Self> {
        let address = match how.way {
            Way::Sdk => return Ok(Self::Calls(Box::new(calls.clone()))),
            Way::Direct => how.callee.to_string(),
            Way::Door => {
                let url = env::var("CALLEE_URL").map_err(Error::internal)?;
                url.trim_start_matches("http://").to_owned()
            }
        };
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::internal)?;
        tokio::spawn(connection);
        Ok(Self::Connection { sender, host: address })
    }

    async fn ask(&mut self, size: usize) -> Result<()> {
        let path = format!("/bytes/{size}");
        let length = match self {
            Self::Calls(calls) => calls.to("callee").get(path).send().await?.bytes().await?.len(),
            Self::Connection { sender, host } => {
                let request = Request::get(path).header(HOST, host.as_str()).body(Empty::new());
                sender.ready().await.map_err(Error::internal)?;
                let answer = sender.send_request(request.map_err(Error::internal)?).await;
                let body = answer.map_err(Error::internal)?.into_body().collect().await;
                body.map_err(Error::internal)?.to_bytes().len()
            }
        };
        if length == size { Ok(()) } else { Err(Error::internal(format!("{length} bytes came"))) }
    }
}

/// The time that the kernel ran this process's threads, in nanoseconds.
fn cpu() -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += schedstat.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0.0);
    }
    Ok(sum)
}
