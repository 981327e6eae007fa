//! What a change of files does, look by look.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use madang_model::{System, manifest};
use rcgen::{CertificateParams, KeyPair};

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 60 * 60;

struct Stage {
    folder: tempfile::TempDir,
    certificates: Certificates,
    watch: Watch,
    now: u64,
}

fn system(root: &Path, tls: &str) -> System {
    fs::write(root.join("madang.toml"), format!("[gateway.tls]\n{tls}\n")).unwrap();
    manifest::load(root, &|_| None).unwrap().system
}

/// A certificate for this host that ends then, and its key.
fn made(name: &str, ends: u64) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = (UNIX_EPOCH + Duration::from_secs(ends)).into();
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::new(folder.path().join("data"));
        let stage = Self { folder, certificates, watch: Watch::default(), now: NOW };
        stage.write(&made("a.example", NOW + 90 * DAY));
        let system = system(
            stage.folder.path(),
            "certificates = [{ certificate = \"shop.pem\", key = \"shop.key\" }]",
        );
        let current = stage.certificates.of(&system).unwrap();
        stage.certificates.in_force(current);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, (chain, key): &(String, String)) {
        for (name, text) in [("shop.pem", chain), ("shop.key", key)] {
            // As tools that renew certificates do it: another file by the same name.
            fs::write(self.path("new"), text).unwrap();
            fs::rename(self.path("new"), self.path(name)).unwrap();
        }
    }

    fn look(&mut self) -> Option<(EventKind, String)> {
        self.certificates.look(&mut self.watch, self.now)
    }

    fn shown(&self) -> String {
        self.certificates.ends().remove(0).name
    }
}

#[test]
fn another_file_is_in_force_once_it_is_whole() {
    let mut stage = Stage::new();
    assert_eq!((stage.look(), stage.look()), (None, None));
    stage.write(&made("b.example", NOW + 91 * DAY));
    assert_eq!(stage.look(), None, "it may be about to be written");
    let (kind, what) = stage.look().unwrap();
    assert_eq!(kind, EventKind::Applied);
    assert!(what.contains("for b.example until"), "{what}");
    assert_eq!(stage.shown(), "b.example");
    assert_eq!(stage.certificates.counts(), Counts { reloaded: 1, failed: 0 });
    assert_eq!((stage.look(), stage.look()), (None, None));
}

#[test]
fn what_cannot_be_used_changes_nothing_and_is_said_once() {
    let mut stage = Stage::new();
    let (_, other) = made("b.example", NOW + 90 * DAY);
    let (chain, _) = made("b.example", NOW + 90 * DAY);
    stage.look();
    stage.write(&(chain, other));
    stage.look();
    let (kind, why) = stage.look().unwrap();
    assert_eq!(kind, EventKind::Degraded);
    assert!(
        why.contains("the certificate in force stays") && why.contains("not that of the certificate"),
        "{why}"
    );
    assert_eq!((stage.look(), stage.look()), (None, None));
    fs::remove_file(stage.path("shop.key")).unwrap();
    stage.look();
    assert!(stage.look().unwrap().1.contains("failed to read"));
    assert_eq!(stage.shown(), "a.example");
    assert_eq!(stage.certificates.counts(), Counts { reloaded: 0, failed: 2 });
    stage.write(&made("c.example", NOW + 90 * DAY));
    stage.look();
    assert_eq!(stage.look().unwrap().0, EventKind::Recovered);
    assert_eq!(stage.shown(), "c.example");
}

#[test]
fn a_certificate_that_has_ended_takes_the_place_of_none_that_has_not() {
    let mut stage = Stage::new();
    stage.look();
    stage.write(&made("b.example", NOW - DAY));
    stage.look();
    assert!(stage.look().unwrap().1.contains("for b.example has ended already"));
    assert_eq!(stage.shown(), "a.example");
    // Where the one in force has ended too, anything is as good.
    stage.now = NOW + 100 * DAY;
    stage.write(&made("c.example", NOW + 99 * DAY));
    stage.look();
    assert_eq!(stage.look().unwrap().0, EventKind::Recovered);
}

#[test]
fn one_for_development_is_made_anew_at_half_its_life() {
    let mut stage = Stage::new();
    assert_eq!(stage.certificates.authority(), None);
    let system = system(stage.folder.path(), "development = true");
    let current = stage.certificates.of(&system).unwrap();
    stage.certificates.in_force(current);
    assert_eq!(stage.certificates.authority(), Some(stage.path("data/tls/ca.pem")));
    // It was made by the clock of the machine.
    let ends = stage.certificates.ends()[0].at;
    stage.now = ends - 16 * DAY;
    assert_eq!(stage.look(), None);
    stage.now = ends - 14 * DAY;
    assert_eq!(stage.look().unwrap().0, EventKind::Applied);
    assert_eq!(stage.certificates.ends()[0].at, stage.now + 30 * DAY);
    assert_eq!(stage.look(), None);
}

#[test]
fn what_the_manifest_says_anew_is_read_and_the_rest_stays() {
    let stage = Stage::new();
    let same =
        system(stage.folder.path(), "certificates = [{ certificate = \"shop.pem\", key = \"shop.key\" }]");
    fs::remove_file(stage.path("shop.key")).unwrap();
    assert!(stage.certificates.of(&same).is_ok(), "it is in force");
    let other = system(
        stage.folder.path(),
        "min_version = \"1.3\"\ncertificates = [{ certificate = \"shop.pem\", key = \"shop.key\" }]",
    );
    let error = stage.certificates.of(&other).map(drop).unwrap_err().to_string();
    assert!(error.contains("shop.key"), "{error}");
}
