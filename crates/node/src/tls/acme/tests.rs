//! A gateway, and an authority that looks at it: what is asked when, and what is shown then.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use instant_acme::RetryPolicy;
use madang_calls::Directory;
use madang_gateway::{Gateway, Handle, Identity, Listener, Snapshot};
use madang_model::{System, manifest};
use madang_wire::admin::EventKind;

use super::{
    Orders,
    testing::{Authority, LIFE, shown},
};
use crate::{
    secrets::{Keys, Secrets},
    tls::{Certificates, Current},
};

const NOW: u64 = 1_800_000_000;

/// The events of a run, in short.
const APPLIED: &str = "applied";
const DEGRADED: &str = "degraded";
const RECOVERED: &str = "recovered";

pub(super) struct Stage {
    folder: tempfile::TempDir,
    pub(super) certificates: Certificates,
    authority: Authority,
    _gateway: Gateway,
    handle: Handle,
    listeners: [SocketAddr; 2],
    pub(super) now: u64,
    challenge: &'static str,
}

fn system(folder: &Path, [listen, redirect]: [SocketAddr; 2], acme: &str) -> System {
    let text = format!(
        "[gateway]\nlisten = \"{listen}\"\n[gateway.tls]\nredirect = \"{redirect}\"\n[gateway.tls.acme]\nterms = \"agreed\"\n{acme}\n"
    );
    fs::write(folder.join("madang.toml"), text).unwrap();
    manifest::load(folder, &|_| None).unwrap().system
}

/// What the manifest says of certificates.
fn wanted(directory: &str, challenge: &str, domains: &str, more: &str) -> String {
    format!("domains = [{domains}]\ndirectory = \"{directory}\"\nchallenge = \"{challenge}\"\n{more}")
}

fn snapshot(system: &System, current: Option<&Current>) -> Snapshot {
    let faults = |_: &_, _: &_| Vec::new();
    let snapshot =
        Snapshot::compile(system, &Directory::default(), &[], &faults, &Identity::new(&[1; 32])).unwrap();
    Current::secure(current, snapshot, system)
}

/// Certificates of a node that asks again soon, so that no test waits.
fn kept(folder: &Path) -> Certificates {
    let quick = RetryPolicy::new()
        .initial_delay(Duration::from_millis(2))
        .backoff(1.0)
        .timeout(Duration::from_secs(20));
    Certificates::patient(folder.join("data"), quick, keys(folder))
}

/// To the secrets of the system.
fn keys(folder: &Path) -> Keys {
    let home = folder.join("home");
    Keys::of(|name| (name == "HOME").then(|| home.clone().into()))
}

impl Stage {
    pub(super) async fn new(challenge: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = || Listener::from_std(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let sockets = [open(), open()];
        let listeners = [sockets[0].local_addr(), sockets[1].local_addr()];
        let authority = Authority::start(NOW).await;
        {
            let mut book = authority.book();
            (book.tls, book.plain) = (Some(listeners[0]), Some(listeners[1]));
        }
        let certificates = kept(folder.path());
        let wanted = wanted(&authority.directory(), challenge, "\"shop.example\", \"www.shop.example\"", "");
        let system = system(folder.path(), listeners, &wanted);
        let current = certificates.of(&system).unwrap();
        let first = snapshot(&system, current.as_ref());
        let (gateway, handle) = Gateway::start_with(Default::default(), first, sockets.into()).await.unwrap();
        certificates.in_force(current);
        Self { folder, certificates, authority, _gateway: gateway, handle, listeners, now: NOW, challenge }
    }

    /// The manifest wants a certificate for these hosts.
    async fn says(&self, domains: &str, more: &str) {
        self.says_of(&self.authority.directory(), domains, more).await;
    }

    pub(super) async fn says_of(&self, directory: &str, domains: &str, more: &str) {
        let wanted = wanted(directory, self.challenge, domains, more);
        let system = system(self.folder.path(), self.listeners, &wanted);
        let current = self.certificates.of(&system).unwrap();
        self.handle.apply(snapshot(&system, current.as_ref()), Vec::new()).await.unwrap();
        self.certificates.in_force(current);
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps a secret of the system.
    pub(super) fn keep_secret(&self, name: &str, value: &str) {
        let file = self.folder.path().join("madang-secrets.toml");
        Secrets::at(&file, keys(self.folder.path())).set(name, value).unwrap();
    }

    /// Whose successors the orders so far are for.
    fn replaced(&self) -> Vec<Option<String>> {
        self.authority.book().orders.iter().map(|order| order.replaces.clone()).collect()
    }

    /// Of which certificates it was asked when to renew them.
    fn asked(&self) -> Vec<String> {
        self.authority.book().asked.clone()
    }

    fn suggests(&self, start: u64, end: u64) {
        self.authority.book().suggests = Some((start, end, 6 * 60 * 60));
    }

    /// Where it listens: over TLS and in plain.
    pub(super) fn listeners(&self) -> [SocketAddr; 2] {
        self.listeners
    }

    /// The node is another one that has the same folder.
    async fn restart(&mut self) {
        self.certificates = kept(self.folder.path());
        self.says("\"shop.example\", \"www.shop.example\"", "").await;
    }

    /// What is said of asking now.
    pub(super) async fn ask(&mut self) -> Option<(&'static str, String)> {
        self.authority.book().now = self.now;
        let (kind, what) = self.certificates.ask(self.now * 1000).await?;
        let kind = match kind {
            EventKind::Applied => APPLIED,
            EventKind::Degraded => DEGRADED,
            EventKind::Recovered => RECOVERED,
            other => panic!("{other:?}"),
        };
        Some((kind, what))
    }

    async fn kind(&mut self) -> Option<&'static str> {
        Some(self.ask().await?.0)
    }

    pub(super) async fn shown(&self, host: &str) -> Result<Vec<u8>, String> {
        shown(Some(self.listeners[0]), host, &[b"h2", b"http/1.1"]).await.map(|(shown, _)| shown.to_vec())
    }

    fn orders(&self) -> usize {
        self.authority.book().orders.len()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        let mut folders = fs::read_dir(self.folder.path().join("data/tls/acme")).unwrap();
        folders.next().unwrap().unwrap().path().join(name)
    }
}

async fn is_had_and_kept(challenge: &'static str) {
    let mut stage = Stage::new(challenge).await;
    assert!(stage.shown("shop.example").await.is_err(), "nobody is let in before there is one");
    let (kind, what) = stage.ask().await.unwrap();
    assert!(kind == APPLIED && what.contains("for shop.example until"), "{what}");
    let shown = stage.shown("shop.example").await.unwrap();
    assert_eq!(shown, stage.shown("www.shop.example").await.unwrap());
    assert_eq!(stage.certificates.ends()[0].at, NOW + LIFE);
    assert_eq!(stage.ask().await, None);
    for file in ["account.json", "certificate.pem"] {
        let mode = fs::metadata(stage.file(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let asked = stage.authority.book().requests;
    stage.restart().await;
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.shown("shop.example").await.unwrap(), shown, "over a restart too");
    assert_eq!(stage.authority.book().requests, asked, "the authority hears nothing of it");
    assert_eq!(stage.certificates.orders(), Orders::default());
}

#[tokio::test]
async fn a_certificate_is_had_over_tls_and_kept_over_restarts() {
    is_had_and_kept("tls-alpn-01").await;
}

#[tokio::test]
async fn a_certificate_is_had_in_plain_and_kept_over_restarts() {
    is_had_and_kept("http-01").await;
}

#[tokio::test]
async fn another_is_had_at_half_its_life_and_by_the_same_account() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    let first = stage.shown("shop.example").await.unwrap();
    stage.restart().await;
    stage.now = NOW + LIFE / 2 - 1;
    assert_eq!(stage.ask().await, None);
    stage.now += 1;
    assert_eq!(stage.kind().await, Some(APPLIED));
    assert_ne!(stage.shown("shop.example").await.unwrap(), first);
    assert_eq!(stage.certificates.ends()[0].at, stage.now + LIFE);
    assert_eq!((stage.orders(), stage.authority.book().accounts.len()), (2, 1));
    assert_eq!(stage.certificates.orders(), Orders { issued: 1, failed: 0 });
    assert_eq!(stage.certificates.counts().reloaded, 1);
}

/// It is tried again sooner and later, says why once, and what is shown stays good.
#[tokio::test]
async fn what_cannot_be_renewed_stays_until_it_can() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    let first = stage.shown("shop.example").await.unwrap();
    stage.now = NOW + LIFE / 2;
    stage.authority.book().is_down = true;
    let (kind, why) = stage.ask().await.unwrap();
    assert!(kind == DEGRADED && why.contains("not reached"), "{why}");
    assert!(stage.certificates.trouble().unwrap().contains("the next attempt is not before"));
    let mut failures = 1;
    for _ in 0..100 {
        stage.now += 10;
        assert_eq!(stage.ask().await, None, "it is no news");
        failures = stage.certificates.orders().failed;
    }
    // Half a second, a second, … and from the ninth on two and a half minutes and up to a quarter more.
    assert!((8..16).contains(&failures), "{failures} in a thousand seconds");
    assert_eq!(stage.shown("shop.example").await.unwrap(), first);
    stage.authority.book().is_down = false;
    stage.now += 200;
    assert_eq!(stage.kind().await, Some(RECOVERED));
    assert_ne!(stage.shown("shop.example").await.unwrap(), first);
    assert_eq!(stage.certificates.trouble(), None);
}

#[tokio::test]
async fn an_authority_that_wants_to_be_left_alone_is() {
    let mut stage = Stage::new("http-01").await;
    stage.authority.book().limited = Some(5000);
    let (kind, why) = stage.ask().await.unwrap();
    assert!(kind == DEGRADED && why.contains("too many orders"), "{why}");
    let asked = stage.authority.book().requests;
    stage.now = NOW + 4999;
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.authority.book().requests, asked);
    stage.now = NOW + 5000 * 5 / 4 + 1;
    assert_eq!(stage.kind().await, Some(RECOVERED));
}

/// A nonce can be bad at any time, and another comes with the answer that says so (RFC 8555, section 6.5).
#[tokio::test]
async fn a_bad_nonce_is_no_failure() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.authority.book().bad_nonces = 1;
    assert_eq!(stage.kind().await, Some(APPLIED));
    assert_eq!(stage.authority.book().bad_nonces, 0);
}

/// Which host it is that the authority does not find here, and what it has found.
#[tokio::test]
async fn a_host_that_is_elsewhere_is_named() {
    for (challenge, found) in [("tls-alpn-01", "no handshake"), ("http-01", "no answer")] {
        let mut stage = Stage::new(challenge).await;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        {
            let mut book = stage.authority.book();
            (book.tls, book.plain) = (Some(closed), Some(closed));
        }
        let (kind, why) = stage.ask().await.unwrap();
        assert_eq!(kind, DEGRADED);
        assert!(why.contains("shop.example: ") && why.contains(found), "{why}");
        stage.now += 59;
        assert_eq!(stage.ask().await, None);
        assert_eq!(stage.orders(), 1, "refusals count there");
    }
}

#[tokio::test]
async fn a_host_that_is_added_is_asked_for_at_once() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    stage.says("\"shop.example\"", "").await;
    assert_eq!(stage.ask().await, None, "it is for more than is wanted");
    stage.says("\"shop.example\", \"pay.example\"", "").await;
    let before = stage.shown("shop.example").await.unwrap();
    assert_eq!(stage.kind().await, Some(APPLIED));
    assert_ne!(stage.shown("shop.example").await.unwrap(), before);
    assert_eq!(stage.authority.book().orders[1].hosts, ["pay.example", "shop.example"]);
}

#[tokio::test]
async fn an_authority_is_told_who_to_write_to_and_that_it_changed() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.says("\"shop.example\"", "contact = \"ops@shop.example\"").await;
    stage.ask().await.unwrap();
    assert_eq!(stage.authority.book().contacts[0][0], "mailto:ops@shop.example");
    stage.says("\"shop.example\", \"pay.example\"", "contact = \"help@shop.example\"").await;
    assert_eq!(stage.kind().await, Some(APPLIED));
    assert_eq!(stage.authority.book().contacts.len(), 1);
    assert_eq!(stage.authority.book().contacts[0][0], "mailto:help@shop.example");
}

/// As at an authority for trials, which is emptied now and then.
#[tokio::test]
async fn an_account_that_is_not_known_any_more_is_made_anew() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    stage.authority.book().accounts.clear();
    stage.now = NOW + LIFE / 2;
    let (kind, why) = stage.ask().await.unwrap();
    assert!(kind == DEGRADED && why.contains("nobody has this account"), "{why}");
    stage.now += 100;
    assert_eq!(stage.kind().await, Some(RECOVERED));
    assert_eq!(stage.authority.book().accounts.len(), 1);
}

#[tokio::test]
async fn what_is_signed_for_another_host_is_not_shown() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.authority.book().signs_for = Some("evil.example".to_owned());
    let (kind, why) = stage.ask().await.unwrap();
    assert!(kind == DEGRADED && why.contains("is not for shop.example"), "{why}");
    assert!(stage.shown("shop.example").await.is_err());
    assert!(!stage.file("certificate.pem").exists());
}

/// What is damaged is had again; an account is not given up for it.
#[tokio::test]
async fn a_damaged_file_is_no_reason_to_show_nothing_for_long() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    fs::write(stage.file("certificate.pem"), "damaged").unwrap();
    stage.restart().await;
    assert!(stage.shown("shop.example").await.is_err());
    assert_eq!(stage.kind().await, Some(APPLIED));
    assert!(stage.shown("shop.example").await.is_ok());
    fs::write(stage.file("account.json"), "damaged").unwrap();
    stage.now = NOW + LIFE / 2;
    let (kind, why) = stage.ask().await.unwrap();
    assert!(kind == DEGRADED && why.contains("account.json"), "{why}");
    assert_eq!(stage.authority.book().accounts.len(), 1);
}

/// Only the protocol for it, alone, is shown a proof, and who asks for proof gets nothing else.
#[tokio::test]
async fn proof_is_for_authorities_alone() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    let with_http: [&[u8]; 2] = [b"acme-tls/1", b"h2"];
    let (_, agreed) = shown(Some(stage.listeners[0]), "shop.example", &with_http).await.unwrap();
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]), "it could be somebody else's idea");
    let alone: [&[u8]; 1] = [b"acme-tls/1"];
    assert!(shown(Some(stage.listeners[0]), "shop.example", &alone).await.is_err(), "nothing is proven now");
}

/// Of the gateway, by a name that no client makes up.
#[tokio::test]
async fn a_proof_in_plain_leaves_a_record() {
    let mut stage = Stage::new("http-01").await;
    stage.ask().await.unwrap();
    let records = stage.handle.records();
    assert_eq!(records.len(), 2, "for each host one");
    for record in records {
        let told = (record.route.as_deref(), record.status, record.code, record.service);
        assert_eq!(told, (Some("/.well-known/acme-challenge/**"), 200, None, None));
    }
}

const DAY: u64 = 24 * 60 * 60;

const EXTERNAL: &str = "external_account = { id = \"customer-1\", key = \"${secret.eab}\" }";

/// As authorities give it out, in base64url.
const KEY: (&[u8], &str) = (b"\xfb\xef\xbe a key of 24 bytes", "----IGEga2V5IG9mIDI0IGJ5dGVz");

/// An authority that knows no strangers is told who it is, by whoever has the key; and once only.
#[tokio::test]
async fn an_account_is_bound_to_that_of_a_customer() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.authority.book().customer = Some(("customer-1", KEY.0));
    let (kind, why) = stage.ask().await.unwrap();
    let told = why.contains("we know no strangers") && why.contains("`external_account`");
    assert!(kind == DEGRADED && told, "{why}");

    stage.keep_secret("eab", "another key");
    stage.says("\"shop.example\"", EXTERNAL).await;
    let (kind, why) = stage.ask().await.unwrap();
    let told = why.contains("the secret \"eab\" is no key") && why.contains("base64url");
    assert!(kind == DEGRADED && told && !why.contains("another"), "{why}");

    stage.keep_secret("eab", "YW5vdGhlciBrZXk=");
    stage.now += 10;
    let (_, why) = stage.ask().await.unwrap();
    assert!(why.contains("bound with another key"), "{why}");
    assert_eq!(stage.authority.book().accounts.len(), 0);

    stage.keep_secret("eab", KEY.1);
    stage.now += 4000;
    let (kind, what) = stage.ask().await.unwrap();
    assert_eq!(kind, RECOVERED, "{what}");
    let kept = fs::read_to_string(stage.file("account.json")).unwrap();
    assert!(kept.contains("customer-1") && !kept.contains(KEY.1), "{kept}");

    // Whose it is stays so, also where it is not said any more.
    stage.says("\"shop.example\", \"pay.example\"", "").await;
    assert_eq!(stage.kind().await, Some(APPLIED));
    assert_eq!(stage.authority.book().accounts.len(), 1);
    stage.authority.book().customer = Some(("customer-2", KEY.0));
    stage.says("\"shop.example\"", &EXTERNAL.replace("-1", "-2")).await;
    stage.now = NOW + LIFE;
    let (kind, what) = stage.ask().await.unwrap();
    assert_eq!(kind, APPLIED, "{what}");
    assert_eq!(stage.authority.book().accounts.len(), 2, "another customer has another account");
}

/// Later than at half its life, and said to be the successor of the first.
#[tokio::test]
async fn another_is_had_when_the_authority_suggests_it() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.suggests(NOW + 60 * DAY, NOW + 60 * DAY);
    stage.ask().await.unwrap();
    assert_eq!(stage.asked(), [""; 0], "there is nothing to renew");
    stage.now = NOW + LIFE / 2;
    assert_eq!(stage.ask().await, None);
    stage.now = NOW + 60 * DAY - 1;
    assert_eq!(stage.ask().await, None);
    stage.now += 1;
    assert_eq!(stage.kind().await, Some(APPLIED));
    let (asked, replaced) = (stage.asked(), stage.replaced());
    assert_eq!(replaced, [None, Some(asked[0].clone())]);
    assert!(asked.iter().all(|of| *of == asked[0]), "{asked:?}");
    // What was said of the first holds for the first.
    stage.now += 1;
    assert_eq!(stage.ask().await, None);
    assert_ne!(stage.asked().last(), Some(&asked[0]));
    assert_eq!(stage.certificates.orders(), Orders { issued: 2, failed: 0 });
}

/// An authority that has to take certificates back suggests a time that is over.
#[tokio::test]
async fn a_certificate_that_is_to_be_taken_back_is_renewed_before_half_its_life() {
    let mut stage = Stage::new("http-01").await;
    stage.suggests(NOW + 60 * DAY, NOW + 61 * DAY);
    stage.ask().await.unwrap();
    stage.now = NOW + 3 * DAY;
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.asked().len(), 1);
    stage.suggests(NOW, NOW + DAY);
    stage.now += 6 * 60 * 60 - 1;
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.asked().len(), 1, "it has said when it wants to be asked again");
    stage.now += 1;
    assert_eq!(stage.kind().await, Some(APPLIED));
    // It is mistaken, and is not asked in circles.
    let mut failures = 0;
    for _ in 0..23 {
        stage.now += 60 * 60;
        failures += u32::from(stage.ask().await.is_some());
    }
    assert_eq!((failures, stage.orders()), (0, 2));
}

/// It says nothing, then nothing that makes sense, then nothing at all.
#[tokio::test]
async fn half_its_life_holds_while_the_authority_suggests_nothing() {
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.ask().await.unwrap();
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.asked(), [""; 0]);
    stage.suggests(NOW + 60 * DAY, NOW + 50 * DAY);
    stage.now = NOW + 2 * DAY;
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.asked().len(), 1);
    stage.suggests(NOW + 60 * DAY, NOW + 60 * DAY);
    stage.authority.book().is_down = true;
    stage.now += 60 * 60;
    assert_eq!(stage.ask().await, None);
    assert_eq!(stage.certificates.trouble(), None, "nothing is missing yet");
    stage.authority.book().is_down = false;
    stage.now += 60 * 60;
    assert_eq!(stage.ask().await, None);
    // What it has said holds while it is away.
    stage.authority.book().is_down = true;
    stage.now = NOW + LIFE / 2;
    assert_eq!(stage.ask().await, None);
    stage.now = NOW + 60 * DAY;
    assert_eq!(stage.kind().await, Some(DEGRADED));
    stage.authority.book().is_down = false;
    stage.now += 10;
    assert_eq!(stage.kind().await, Some(RECOVERED));
}

/// Whoever was faster, or knows nothing of successors, signs an order like any other.
#[tokio::test]
async fn an_order_that_is_no_successors_is_one_like_any_other() {
    for kind in ["alreadyReplaced", "malformed", "unauthorized", "nothing"] {
        let mut stage = Stage::new("tls-alpn-01").await;
        stage.suggests(NOW + 60 * DAY, NOW + 60 * DAY);
        stage.ask().await.unwrap();
        {
            let mut book = stage.authority.book();
            (book.takes_no_successor, book.says_nothing_of_successors) =
                (Some(kind).filter(|kind| *kind != "nothing"), kind == "nothing");
        }
        stage.now = NOW + 60 * DAY;
        assert_eq!(stage.kind().await, Some(APPLIED), "{kind}");
        assert_eq!(stage.certificates.orders(), Orders { issued: 2, failed: 0 }, "{kind}");
    }
    // What has nothing to do with it is no reason to try again.
    let mut stage = Stage::new("tls-alpn-01").await;
    stage.suggests(NOW + 60 * DAY, NOW + 60 * DAY);
    stage.ask().await.unwrap();
    stage.now = NOW + 60 * DAY;
    stage.authority.book().limited = Some(5000);
    let (kind, why) = stage.ask().await.unwrap();
    assert!(kind == DEGRADED && why.contains("too many orders"), "{why}");
    assert_eq!(stage.orders(), 1);
}
