//! What an edit of the manifest does to the listeners of a node, and to what can be sent through them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use madang_testkit::free_port;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::sleep,
};

use crate::owner::{Answer, Owner};

/// Between one look and the next.
const PAUSE: Duration = Duration::from_millis(2);

/// Who answers at a port: only the issuer has keys. Nobody, too, if whoever listened has just stopped to.
async fn who(port: u16) -> &'static str {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET /keys HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match asked.await {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => "issuer",
        Ok(answer) if answer.contains("MDG-GW-001") => "gateway",
        _ => "nobody",
    }
}

/// Waits until this one answers there.
async fn until_it_is(expected: &str, port: u16) {
    while who(port).await != expected {
        sleep(PAUSE).await;
    }
}

/// Waits until the system says this of itself.
async fn until(owner: &Owner, said: impl Fn(&Value) -> bool) {
    while !said(&owner.get("/v1/system").await) {
        sleep(PAUSE).await;
    }
}

/// Somebody who connects again and again: somebody must always listen.
fn connecting(ports: [u16; 2], stop: Arc<AtomicBool>) -> JoinHandle<u32> {
    tokio::spawn(async move {
        let mut connected = 0;
        while !stop.load(Relaxed) {
            for port in ports {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
                // Nothing of it stays: other tests need ports, too.
                stream.set_zero_linger().unwrap();
                connected += 1;
            }
            sleep(PAUSE).await;
        }
        connected
    })
}

/// In one edit, without a moment in which nobody listens; and not at all if anything else in it cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_and_the_issuer_change_places() {
    let [first, second] = [free_port(), free_port()];
    let manifest = |gateway: u16, issuer: u16, more: &str| {
        format!(
            "[gateway]\nlisten = {gateway}\n[issuer]\nlisten = {issuer}\n[services.users]\nrun = false\n{more}"
        )
    };
    let owner = Owner::with(&manifest(first, second, "")).await;
    assert_eq!((who(first).await, who(second).await), ("gateway", "issuer"));
    let stop = Arc::new(AtomicBool::new(false));
    let load = connecting([first, second], stop.clone());
    for (gateway, issuer) in [(second, first), (first, second)] {
        owner.write(&manifest(gateway, issuer, ""));
        let expected = json!(format!("http://127.0.0.1:{gateway}"));
        until(&owner, |system| system["gateway"] == expected).await;
        until_it_is("issuer", issuer).await;
        until_it_is("gateway", gateway).await;
    }

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("listen = {}\n", taken.local_addr().unwrap().port());
    owner.write(&manifest(second, first, &more));
    until(&owner, |system| !system["manifest_error"].is_null()).await;
    assert_eq!((who(first).await, who(second).await), ("gateway", "issuer"), "it stays as it was");
    owner.write(&manifest(second, first, ""));
    until(&owner, |system| system["manifest_error"].is_null()).await;
    until_it_is("issuer", first).await;
    until_it_is("gateway", second).await;
    stop.store(true, Relaxed);
    assert!(load.await.unwrap() > 0);

    // Neither holds on to what the other has.
    let third = free_port();
    owner.write(&manifest(second, third, ""));
    until_it_is("issuer", third).await;
    until_it_is("nobody", first).await;
    owner.stop().await;
}

/// What cannot be sent from the explorer says why, and by whom it can.
#[tokio::test(flavor = "multi_thread")]
async fn where_clients_need_a_certificate_the_node_says_that_it_has_none() {
    let gateway = free_port();
    let manifest = |more: &str| {
        format!(
            "[gateway]\nlisten = {gateway}\n[gateway.tls]\ndevelopment = true\n{more}\n[services.users]\nrun = false\n"
        )
    };
    let owner = Owner::with(&manifest("")).await;
    let send = async || -> Answer { owner.post("/v1/requests", &json!({ "path": "/nope" })).await };
    let sent = send().await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    assert!(sent.body.contains("MDG-GW-001"), "{}", sent.body);

    let clients = "client_ca = \".madang/tls/ca.pem\"";
    owner.write(&manifest(clients));
    until(&owner, |system| !system["client_authorities"].is_null()).await;
    let refused = send().await;
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &problem["code"]), (409, &json!("MDG-GW-050")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(".madang/tls/ca.pem") && detail.contains("curl --cert"), "{detail}");

    owner.write(&manifest(&format!("{clients}\nclients = \"optional\"")));
    until(&owner, |system| system["client_authorities"].is_null()).await;
    assert_eq!(send().await.status, 200, "whoever has none is let in as nobody");
    owner.stop().await;
}
