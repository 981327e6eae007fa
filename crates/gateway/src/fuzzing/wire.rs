//! A whole connection, from a client's bytes to the bytes that reach a service.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::Uri;
use madang_calls::Directory;
use madang_model::{InstanceId, Protocol, System};
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{Semaphore, oneshot},
    task::{JoinHandle, LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::strict::{self, Read};
use crate::{
    Config, Identity, Snapshot,
    connection::{Connection, Protocols},
    path::normalise,
    worker::{Port, Worker},
};

mod frames;

const MANIFEST: &str = r#"
[system]
name = "fuzzing"
[gateway]
listen = "127.0.0.1:3000"
[services.users]
run = false
routes = ["/**"]
"#;

/// Whence the client comes.
const CLIENT: &str = "192.0.2.7:4711";

/// How long a connection that says nothing more is waited for; no time passes meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// As many rounds in which nothing moves mean that nothing will.
const STILL: u32 = 3;

/// What the client may be answered: for each byte that it sent, and at all, in bytes.
const EACH: usize = 128;
const AT_ALL: usize = 16 * 1024;

/// Bytes of a client: as they are, or, after a `2`, as frames of HTTP/2, whose form is in [`frames`].
///
/// # Panics
/// If anything reaches the service that could be read in two ways or was not asked for by a request, or that says what
/// only the gateway may say; if the client is answered without a bound; or if anything panics.
pub fn wire(bytes: &[u8]) {
    thread_local! {
        static STAGE: Stage = Stage::new();
    }
    let bytes = match bytes.split_first() {
        Some((b'2', frames)) => frames::of(frames),
        _ => bytes.to_vec(),
    };
    STAGE.with(|stage| LocalSet::new().block_on(&stage.runtime, stage.pass(&bytes)));
}

/// What does not depend on what came before.
struct Stage {
    runtime: Runtime,
    system: System,
}

/// What a service saw.
#[derive(Default)]
struct Seen {
    requests: Vec<Read>,
    /// Bytes that came, so that it is known whether any still come.
    bytes: usize,
    /// What could be read in another way.
    wrong: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        Self { runtime: runtime.expect("there is a runtime"), system: super::system(MANIFEST) }
    }

    async fn pass(&self, bytes: &[u8]) {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let (service, address) = Service::start(&seen).await;
        let (worker, port, unused) = self.gateway(address);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is a place");
        let peer = CLIENT.parse().expect("an address");
        worker.connection_begins();
        let connection = Connection::new(worker.clone(), port, peer, permit);
        let (client, server) = duplex(64 * 1024);
        let protocols = Protocols::new(&config());
        let serving = tokio::spawn(async move {
            let _ = connection.serve_plain(server, &protocols).await;
        });
        let came = converse(client, bytes, &seen).await;
        serving.abort();
        if let Err(error) = serving.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        service.abort();
        drop(unused);
        let mut records = Vec::new();
        worker.take_records(&mut records);
        let seen = seen.borrow();
        assert!(seen.wrong.is_empty(), "what reached the service can be read in two ways: {:?}", seen.wrong);
        let asked: u64 = records.iter().map(|record| u64::from(record.attempts)).sum();
        assert!(seen.requests.len() as u64 <= asked, "{:?} of {records:?}", seen.requests);
        seen.requests.iter().for_each(holds);
        assert!(came <= AT_ALL + EACH * bytes.len(), "{came} bytes for {}", bytes.len());
    }

    /// A gateway of one worker, this one, before a service at this address.
    fn gateway(&self, service: SocketAddr) -> (Arc<Worker>, Arc<Port>, oneshot::Receiver<()>) {
        let directory = Directory::default();
        let (instance, protocol) = (InstanceId("users-1".into()), Protocol::Http);
        let instances = vec![Endpoint { instance, address: service, protocol, release: None }];
        let services =
            [("users".parse().expect("a name"), ServiceEndpoints { instances, ..Default::default() })];
        directory.apply(&Endpoints { version: 1, services: services.into(), ..Endpoints::default() });
        let identity = Identity::new(&[7; 32]);
        let faults: &dyn Fn(&_, &_) -> _ = &|_, _| Vec::new();
        let snapshot = Snapshot::compile(&self.system, &directory, &[], faults, &identity);
        let fronts = snapshot.expect("the manifest is right").fronts;
        let (listen, front) = fronts.into_iter().next().expect("there is a listener");
        let worker = Arc::new(Worker::new(&config()));
        worker.make_clients(&config());
        let (used, unused) = oneshot::channel();
        (worker, Arc::new(Port::new(listen, front, used)), unused)
    }
}

fn config() -> Config {
    Config { workers: std::num::NonZeroUsize::new(1), ..Config::default() }
}

/// Sends all, waits until nothing moves any more, says that no more comes, and waits for the end. Gives how much was
/// answered, in bytes.
async fn converse(client: DuplexStream, bytes: &[u8], seen: &Rc<RefCell<Seen>>) -> usize {
    let (mut reader, mut writer) = split(client);
    let came = Rc::new(Cell::new(0));
    let counted = came.clone();
    let reading = spawn_local(async move {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut chunk).await {
            counted.set(counted.get() + count);
        }
    });
    // A connection that has ended takes no more, which is right.
    let _ = timeout(PATIENCE, writer.write_all(bytes)).await;
    let moved = || came.get() + seen.borrow().bytes;
    let (mut before, mut still) = (moved(), 0);
    while still < STILL {
        // Time is paused: it passes once nobody has anything to do.
        sleep(Duration::from_millis(1)).await;
        still = if moved() == before { still + 1 } else { 0 };
        before = moved();
    }
    let _ = writer.shutdown().await;
    let mut reading = reading;
    if timeout(PATIENCE, &mut reading).await.is_err() {
        reading.abort();
    }
    came.get()
}

/// What every request is that reaches a service, whatever its client sent.
fn holds(request: &Read) {
    let Read { target, fields, .. } = request;
    let path = target.split('?').next().unwrap_or_default();
    assert_eq!(normalise(path).as_deref(), Ok(path), "{request:?}");
    assert!(target.parse::<Uri>().is_ok(), "{request:?}");
    let of =
        |name: &str| fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(of("x-forwarded-for"), ["192.0.2.7"], "{request:?}");
    assert_eq!(of("x-forwarded-proto"), ["http"], "{request:?}");
    assert_eq!(of("x-forwarded-host"), of("host"), "{request:?}");
    for once in ["host", "x-request-id", "traceparent", "madang-service"] {
        assert_eq!(of(once).len(), 1, "{once} of {request:?}");
    }
    let ours = ["madang-service", "madang-timeout", "madang-attempt"];
    for (name, value) in fields {
        assert!(
            ours.contains(&name.as_str()) || FORWARDED.contains(&name.as_str()) || !is_ours(name),
            "{name} of {request:?}"
        );
        assert!(!matches!(name.as_str(), "keep-alive" | "proxy-connection"), "{request:?}");
        assert!(name != "te" || value == "trailers", "{request:?}");
    }
    let trailers =
        request.trailers.iter().find(|(name, _)| is_ours(name) || FRAMING.contains(&name.as_str()));
    assert_eq!(trailers, None, "{request:?}");
    // Whoever sends `te` names it (RFC 9110, section 10.1.4), and what asks for another protocol has nothing else to say.
    match (&of("upgrade")[..], &of("te")[..]) {
        ([], []) => assert!(of("connection").is_empty(), "{request:?}"),
        ([], _) => assert_eq!(of("connection"), ["te"], "{request:?}"),
        _ => assert!(of("connection") == ["upgrade"] && request.body.is_empty(), "{request:?}"),
    }
    assert_eq!(of("madang-service"), ["users"], "{request:?}");
}

/// Set by the gateway for every request.
const FORWARDED: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// What no trailer may say (RFC 9110, section 6.5.1).
const FRAMING: [&str; 5] = ["host", "content-length", "transfer-encoding", "authorization", "connection"];

/// Whether only the gateway may say it, or some server could take it for such a field.
fn is_ours(name: &str) -> bool {
    name.starts_with("madang-")
        || name.starts_with("x-forwarded-")
        || name.contains('_')
        || matches!(name, "forwarded" | "x-real-ip")
}

/// A service that reads by a parser of its own and answers each request by its path.
struct Service;

impl Service {
    async fn start(seen: &Rc<RefCell<Seen>>) -> (JoinHandle<()>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it has an address");
        let seen = seen.clone();
        let accepting = spawn_local(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn_local(Self::serve(stream, seen.clone()));
            }
        });
        (accepting, address)
    }

    async fn serve(mut stream: TcpStream, seen: Rc<RefCell<Seen>>) {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            seen.borrow_mut().bytes += count;
            bytes.extend_from_slice(&chunk[..count]);
            loop {
                let (read, rest) = match strict::request(&bytes) {
                    Ok(Some((read, rest))) => (read, rest.to_vec()),
                    Ok(None) => break,
                    Err(why) => return seen.borrow_mut().wrong.push(why),
                };
                bytes = rest;
                let answer = answer(&read.target);
                seen.borrow_mut().requests.push(read);
                if stream.write_all(answer.0.as_bytes()).await.is_err() {
                    return;
                }
                match answer.1 {
                    Then::GoesOn => {}
                    Then::Closes => return,
                    // What comes is another protocol's.
                    Then::Switches => {
                        let (mut from, mut to) = stream.split();
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                        return;
                    }
                }
            }
        }
    }
}

enum Then {
    GoesOn,
    Closes,
    Switches,
}

fn answer(target: &str) -> (&'static str, Then) {
    match target.split('?').next().unwrap_or_default() {
        "/close" => ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end", Then::Closes),
        "/chunks" => (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
            Then::GoesOn,
        ),
        "/hints" => {
            ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Then::GoesOn)
        }
        "/head" => ("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n", Then::GoesOn),
        "/switch" => (
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            Then::Switches,
        ),
        "/nothing" => ("", Then::Closes),
        "/wrong" => ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok", Then::Closes),
        _ => ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::GoesOn),
    }
}
