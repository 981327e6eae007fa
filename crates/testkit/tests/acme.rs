//! A certificate of an authority, from a manifest to a browser: with Pebble, which Let's Encrypt tests clients with.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use madang_testkit::{Chromium, Placement, Prepared, TestSystem, free_port};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::process::{Child, Command};

/// The certificate of Pebble's own server, which signs itself.
fn own_certificate(prepared: &Prepared) {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    prepared.write("pebble.pem", &own.pem());
    prepared.write("pebble.key", &key.serialize_pem());
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Pebble at this address, which looks for `localhost` where the gateway listens.
fn pebble(system: &TestSystem, at: SocketAddr) -> Child {
    let config = json!({ "pebble": {
        "listenAddress": at.to_string(),
        "managementListenAddress": free().to_string(),
        "certificate": system.path().join("pebble.pem"),
        "privateKey": system.path().join("pebble.key"),
        "httpPort": free().port(),
        "tlsPort": system.gateway_address().port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    system.write("pebble.json", &config.to_string());
    let mut command = Command::new("pebble");
    command.args(["-strict", "-config"]).arg(system.path().join("pebble.json"));
    command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0").kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it is installed: `cargo xtask test` does that, or `apt install pebble`")
}

/// Waits until `madang ps` says this besides, or no more.
async fn told(system: &TestSystem, what: &str, expected: bool) -> String {
    loop {
        let output = system.madang(&["ps"]).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains(what) == expected {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_had_once_its_authority_is_there_and_is_kept() {
    let at = free();
    let manifest = format!(
        "[gateway]\nlisten = \"127.0.0.1:{{gateway}}\"\n[gateway.tls.acme]\ndomains = [\"localhost\"]\n\
         terms = \"agreed\"\nca = \"pebble.pem\"\ndirectory = \"https://localhost:{}/dir\"\n\
         [services.web]\nrun = \"python3 service.py\"\nroutes = [\"/**\"]\n",
        at.port()
    );
    let prepared = Prepared::with(&manifest);
    prepared.write("service.py", include_str!("programs/service.py"));
    own_certificate(&prepared);
    let mut system = prepared.start(Placement::Processes).await;

    let said = told(&system, "no new certificate", true).await;
    assert!(said.contains("degraded:") && said.contains("the next attempt is not before"), "{said}");
    let authority = pebble(&system, at);
    told(&system, "no new certificate", false).await;
    let url = format!("https://localhost:{}/", system.gateway_address().port());
    let browser = Chromium::start().await;
    let page = browser.page().await;
    page.believe_anybody().await; // what Pebble signs is for nobody
    assert_eq!(page.open(&url).await, 200);
    let events = system.run(&["events"]).await;
    assert!(events.contains("another certificate is in force: for localhost until"), "{events}");

    // Nobody is there to be asked, and nobody needs to be.
    drop(authority);
    system.down().await;
    system.up(Placement::Processes).await;
    assert_eq!(page.open(&url).await, 200);
    let said = told(&system, "degraded", false).await;
    assert!(!said.contains("certificate"), "{said}");
}
