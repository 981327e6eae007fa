//! Routes, listeners and instances change under load, and no request notices.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::Method;
use madang_gateway::{Error, Listener};
use madang_model::Protocol;
use madang_wire::Hop;
use tokio::task::JoinHandle;

use crate::stage::{ANY, Client, Stage, config, mirror, route, saying, system, until};

/// Clients that ask until they are told to stop; any answer but 200 is a panic.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4).map(|_| tokio::spawn(ask(address, stop.clone(), answered.clone()))).collect();
        Self { stop, answered, clients }
    }

    /// Waits until this many more requests have been answered.
    async fn more(&self, count: usize) {
        let until = self.answered.load(Relaxed) + count;
        while self.answered.load(Relaxed) < until {
            assert!(!self.clients.iter().all(JoinHandle::is_finished), "every client failed");
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

async fn ask(address: SocketAddr, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    let mut client = Client::new(address).await;
    while !stop.load(Relaxed) {
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answered.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn a_swap_of_routes_drops_nothing() {
    let mut stage =
        Stage::new(&["- /** -> a"]).await.with("a", saying("a").await).with("b", saying("b").await);
    stage.system.services.extend(system(&["- / -> b"]).services);
    let load = Load::on(stage.address());
    for round in 0..50 {
        let to = if round % 2 == 0 { "b" } else { "a" };
        stage.system.routes = vec![route(&format!("- /** -> {to}"))];
        stage.apply().await.unwrap();
        load.more(10).await;
        assert_eq!(stage.client().await.get("/").await.text(), to, "the swap is in force when it returns");
    }
    load.end().await;
    stage.stop().await;
}

#[tokio::test]
async fn an_instance_leaves_and_another_comes_without_a_failure() {
    let mut stage = Stage::new(&["- /** -> a"]).await;
    let (first, second) = (saying("1").await, saying("2").await);
    stage.add("a", first, Protocol::Http);
    let load = Load::on(stage.address());
    for _ in 0..20 {
        stage.add("a", second, Protocol::Http);
        load.more(10).await;
        stage.remove("a", first);
        load.more(10).await;
        assert_eq!(stage.client().await.get("/").await.text(), "2");
        stage.add("a", first, Protocol::Http);
        load.more(10).await;
        stage.remove("a", second);
        load.more(10).await;
    }
    load.end().await;
    stage.stop().await;
}

#[tokio::test]
async fn listeners_come_and_go_while_the_others_stay() {
    let mut system = system(&["- /** -> a"]);
    let door = {
        let free = std::net::TcpListener::bind(ANY).unwrap();
        free.local_addr().unwrap()
    };
    let mut stage = Stage::start(config(), system.clone(), Vec::new()).await.with("a", saying("a").await);
    let load = Load::on(stage.address());
    for _ in 0..5 {
        system.services.get_mut("a").unwrap().listen = Some(door);
        stage.system = system.clone();
        stage.apply().await.unwrap();
        let mut client = Client::new(door).await;
        assert_eq!(client.get("/").await.text(), "a");
        load.more(10).await;

        system.services.get_mut("a").unwrap().listen = None;
        stage.system = system.clone();
        stage.apply().await.unwrap();
        Listener::bind(door).expect("the address is free once the change is in force");
    }
    load.end().await;
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_listened_on_leaves_everything_as_it_was() {
    let mut stage = Stage::new(&["- /** -> a"]).await.with("a", saying("a").await);
    let taken = std::net::TcpListener::bind(ANY).unwrap();
    stage.system.services.get_mut("a").unwrap().listen = Some(taken.local_addr().unwrap());
    stage.system.routes.clear();
    let error = stage.apply().await.unwrap_err();
    assert!(
        matches!(error, Error::Listen { address, .. } if address == taken.local_addr().unwrap()),
        "{error}"
    );
    assert_eq!(stage.client().await.get("/").await.text(), "a");
    assert_eq!(stage.handle.routes().len(), 1);
    stage.stop().await;
}

#[tokio::test]
async fn routes_are_shown_in_order_of_precedence() {
    let stage =
        Stage::new(&["- /** -> a", "GET /x/{id} x=1 -> a=2,b=1", "- *.h/x -> a", "- h/** -> b"]).await;
    let routes = stage.handle.routes();
    let shown: Vec<_> =
        routes.iter().map(|r| format!("{}{}", r.host.as_deref().unwrap_or(""), r.path)).collect();
    assert_eq!(shown, ["h/**", "*.h/x", "/x/{id}", "/**"]);
    assert_eq!(
        (&*routes[2].headers[0], routes[2].to[0].weight, &*routes[2].place),
        ("x: 1", 2, "madang.toml:1")
    );
    stage.stop().await;
}

/// What counts is what the address is when the request comes, also on connections from before.
#[tokio::test]
async fn an_address_that_changes_hands_changes_what_its_clients_may_do() {
    let mut system = system(&["- /** -> a"]);
    let listener = Listener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
    let address = listener.local_addr();
    system.services.get_mut("a").unwrap().listen = Some(address);
    let stage = Stage::start(config(), system.clone(), vec![listener]).await;
    let mut stage = stage.with("a", mirror(Protocol::Http).await);
    let mut old = Client::new(address).await;
    for (gateway, door, hop) in
        [(ANY, Some(address), Hop::Door), (address, None, Hop::Gateway), (ANY, Some(address), Hop::Door)]
    {
        stage.system.gateway.listen = gateway;
        stage.system.services.get_mut("a").unwrap().listen = door;
        stage.apply().await.unwrap();
        for client in [&mut old, &mut Client::new(address).await] {
            let answer = client.ask(Method::GET, "/", &[("madang-timeout", "900")]).await;
            let timeout = answer.text().lines().find_map(|l| l.strip_prefix("madang-timeout: ")).unwrap();
            let shortened = timeout.parse::<u64>().unwrap() <= 900;
            assert_eq!(shortened, hop == Hop::Door, "{timeout} ms at a {hop:?}");
        }
        let mut hops = Vec::new();
        until(|| {
            hops.extend(stage.handle.records().iter().map(|record| record.hop));
            hops.len() == 2
        })
        .await;
        assert_eq!(hops, [hop, hop]);
    }
    stage.stop().await;
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[tokio::test]
async fn the_gateway_moves_between_one_address_and_all_on_the_same_port() {
    let listener = Listener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
    let port = listener.local_addr().port();
    let mut system = system(&["- /** -> a"]);
    system.gateway.listen = listener.local_addr();
    let mut stage = Stage::start(config(), system, vec![listener]).await.with("a", saying("a").await);
    let mut client = Client::new(at("127.0.0.1", port)).await;
    for (ip, outside) in [("0.0.0.0", true), ("127.0.0.1", false)] {
        stage.system.gateway.listen = at(ip, port);
        assert_eq!(client.get("/").await.text(), "a");
        stage.apply().await.unwrap();
        client = Client::new(at("127.0.0.1", port)).await;
        assert_eq!(client.get("/").await.text(), "a");
        let elsewhere = tokio::net::TcpStream::connect(at("127.0.0.2", port)).await;
        assert_eq!(elsewhere.is_ok(), outside, "{ip}");
    }
    stage.system.gateway.listen = at("0.0.0.0", port);
    assert!(stage.apply().now_or_never().is_none(), "whoever asked for it does not wait");
    until(|| std::net::TcpStream::connect(at("127.0.0.2", port)).is_ok()).await;
    stage.stop().await;
}

/// The gateway and a service leave their addresses for all addresses, and those are taken by somebody else at
/// one more.
#[tokio::test]
async fn listeners_that_gave_way_in_vain_are_open_again() {
    let listener = Listener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
    let (gateway, door) = (listener.local_addr(), at("127.0.0.3", listener.local_addr().port()));
    let mut system = system(&["- /** -> a"]);
    system.gateway.listen = gateway;
    system.services.get_mut("a").unwrap().listen = Some(door);
    let mut stage = Stage::start(config(), system.clone(), vec![listener]).await.with("a", saying("a").await);
    let taken = std::net::TcpListener::bind(at("127.0.0.2", gateway.port())).unwrap();
    let all = at("0.0.0.0", gateway.port());
    let mut before = [Client::new(gateway).await, Client::new(door).await];
    for client in &mut before {
        client.get("/").await;
    }

    stage.system.gateway.listen = all;
    stage.system.services.get_mut("a").unwrap().listen = Some(ANY);
    stage.system.routes.clear();
    let error = stage.apply().await.unwrap_err();
    assert!(matches!(error, Error::Listen { address, .. } if address == all), "{error}");
    assert_eq!(stage.handle.routes().len(), 1);
    for address in [gateway, door] {
        assert_eq!(Client::new(address).await.get("/").await.text(), "a");
    }
    // A worker looks at its connections ten times a second and would have had these finish.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for client in &mut before {
        assert_eq!(client.get("/").await.text(), "a");
    }

    drop(taken);
    stage.system.routes = system.routes;
    stage.apply().await.unwrap();
    assert_eq!(Client::new(at("127.0.0.2", gateway.port())).await.get("/").await.text(), "a");
    stage.stop().await;
}
