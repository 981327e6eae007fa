//! The same against Pebble, with which Let's Encrypt tests clients. It has a DNS of its own here, in which every host is
//! this machine.

use std::{
    collections::BTreeMap,
    fs,
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use madang_testkit::free_port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::net::TcpStream;

use super::tests::Stage;
use crate::tls::acme::Orders;

/// What was started, which ends with it.
struct Programs(Vec<Child>);

impl Drop for Programs {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Free for both ways of asking a DNS.
fn free_dns_port() -> u16 {
    loop {
        let port = free_port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn start(command: &mut Command) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.expect("it is installed: `cargo xtask test` does that, or `apt install pebble`")
}

async fn listens(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Who signs Pebble's own server, in PEM.
fn server_certificate(folder: &Path) -> String {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("own.pem"), own.pem()).unwrap();
    fs::write(folder.join("own.key"), key.serialize_pem()).unwrap();
    issuer.pem()
}

/// Starts it before a gateway, for one customer alone if it has any; where its directory is.
async fn pebble(stage: &Stage, customer: Option<(&str, &str)>) -> (Programs, String) {
    let folder = stage.folder();
    fs::write(folder.join("ca.pem"), server_certificate(folder)).unwrap();
    let ([tls, plain], [port, management], dns) =
        (stage.listeners(), [free_port(), free_port()], free_dns_port());
    let config = json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{port}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": folder.join("own.pem"),
        "privateKey": folder.join("own.key"),
        "httpPort": plain.port(),
        "tlsPort": tls.port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": customer.is_some(),
        "externalAccountMACKeys": customer.into_iter().collect::<BTreeMap<_, _>>(),
    }});
    fs::write(folder.join("pebble.json"), config.to_string()).unwrap();
    let management = format!("127.0.0.1:{}", free_port());
    let mut names = Command::new("pebble-challtestsrv");
    names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", &management]);
    names.args(["-dns01", &format!("127.0.0.1:{dns}"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
    let mut pebble = Command::new("pebble");
    pebble.args(["-strict", "-dnsserver", &format!("127.0.0.1:{dns}"), "-config"]);
    pebble.arg(folder.join("pebble.json"));
    // No dice: what it does by chance is off, and what it has seen once it does not look for again.
    pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0").env("PEBBLE_AUTHZREUSE", "100");
    let programs = Programs(vec![start(&mut names), start(&mut pebble)]);
    listens(dns).await;
    listens(port).await;
    (programs, format!("https://localhost:{port}/dir"))
}

async fn signs(challenge: &'static str, customer: Option<(&str, &str)>) {
    let mut stage = Stage::new(challenge).await;
    let (_programs, directory) = pebble(&stage, customer).await;
    let mut more = "ca = \"ca.pem\"".to_owned();
    if let Some((id, key)) = customer {
        stage.keep_secret("eab", key);
        more += &format!("\nexternal_account = {{ id = \"{id}\", key = \"${{secret.eab}}\" }}");
    }
    stage.says_of(&directory, "\"shop.example\", \"www.shop.example\"", &more).await;
    // Pebble's time is that of the machine.
    stage.now = crate::node::now() / 1000;
    let said = stage.ask().await.unwrap();
    assert_eq!(said.0, "applied", "{}", said.1);
    let shown = stage.shown("www.shop.example").await.unwrap();
    assert!(shown.windows(6).any(|part| part == b"Pebble"), "who has signed it");
    assert_eq!(stage.certificates.orders(), Orders { issued: 1, failed: 0 });
    assert_eq!(stage.ask().await, None);
    // Again past half its life, with the account that is kept.
    stage.now = u64::midpoint(stage.now, stage.certificates.ends()[0].at) + 60;
    let said = stage.ask().await.unwrap();
    assert_eq!(said.0, "applied", "{}", said.1);
    assert_ne!(stage.shown("www.shop.example").await.unwrap(), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_signs_what_is_proven_over_tls() {
    signs("tls-alpn-01", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_signs_what_is_proven_in_plain() {
    signs("http-01", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_signs_for_the_customer_that_it_knows() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    signs("tls-alpn-01", Some(("customer-1", key))).await;
}
