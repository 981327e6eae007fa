//! What the gateway speaks, as the manifest says it.

use expect_test::expect;

use super::{Memory, loaded};
use crate::{Challenge, ExternalAccount, TlsVersion};

#[test]
fn files_are_beside_the_manifest_and_whoever_names_authorities_asks_everybody() {
    let system = loaded(
        "[gateway.tls]\ncertificates = [{ certificate = \"certs/a.pem\", key = \"/k/a.key\" }]\nclient_ca = \"ca.pem\"\n",
    )
    .system;
    let tls = system.gateway.tls.unwrap();
    assert_eq!(tls.certificates[0].certificate, system.root.join("certs/a.pem"));
    assert_eq!(tls.certificates[0].key.to_str(), Some("/k/a.key"));
    let clients = tls.clients.unwrap();
    assert_eq!((clients.authorities, clients.required), (system.root.join("ca.pem"), true));
    assert_eq!((tls.min_version, tls.redirect, tls.development), (TlsVersion::V1_2, None, false));
    assert!(loaded("[gateway]\nlisten = 3001\n").system.gateway.tls.is_none());
}

#[test]
fn each_value_is_explained() {
    let manifest = "[gateway.tls]\ndevelopment = true\nredirect = 3080\nclient_ca = \"ca.pem\"\n";
    let lines: Vec<String> = loaded(manifest)
        .explain()
        .iter()
        .filter(|line| line.key.contains("tls"))
        .map(|line| format!("{} = {} ({})", line.key, line.value, line.place))
        .collect();
    expect![[r#"
        gateway.tls.development = true (madang.toml:2)
        gateway.tls.min_version = "1.2" (default)
        gateway.tls.redirect = "127.0.0.1:3080" (madang.toml:3)
        gateway.tls.client_ca = "ca.pem" (madang.toml:4)
        gateway.tls.clients = "required" (default)
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn an_authority_on_the_network_is_asked_for_what_is_said() {
    let least = "[gateway.tls.acme]\ndomains = [\"Shop.example\", \"a.shop.example\"]\nterms = \"agreed\"\n";
    let acme = loaded(least).system.gateway.tls.unwrap().acme.unwrap();
    assert_eq!(acme.directory.to_string(), "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme.domains.iter().collect::<Vec<_>>(), ["a.shop.example", "shop.example"]);
    assert_eq!((acme.challenge, acme.contact, acme.ca), (Challenge::TlsAlpn01, None, None));
    let system =
        loaded(&format!("[gateway.tls]\nredirect = 3080\n{least}challenge = \"http-01\"\nca = \"ca.pem\"\n"))
            .system;
    let acme = system.gateway.tls.unwrap().acme.unwrap();
    assert_eq!((acme.challenge, acme.ca), (Challenge::Http01, Some(system.root.join("ca.pem"))));
}

#[test]
fn an_account_elsewhere_is_told_by_its_id_and_the_name_of_its_key() {
    let text = "[gateway.tls.acme]\ndomains = [\"a.example\"]\nterms = \"agreed\"\nexternal_account = { id = \"k-1\", key = \"${secret.eab}\" }\n";
    let kept = "version = 1\nkey = \"0011\"\n[sealed]\neab = \"00\"\n";
    let loaded = Memory::new([("madang.toml", text), ("madang-secrets.toml", kept)]).load().unwrap();
    let explained = loaded.explain();
    let lines = explained.iter().filter(|line| line.key.contains("external"));
    let lines: Vec<_> = lines.map(|line| format!("{} = {}", line.key, line.value)).collect();
    let key = "gateway.tls.acme.external_account";
    assert_eq!(lines, [format!("{key}.id = \"k-1\""), format!("{key}.key = \"${{secret.eab}}\"")]);
    let acme = loaded.system.gateway.tls.unwrap().acme.unwrap();
    let expected = ExternalAccount { id: "k-1".to_owned(), key: "eab".to_owned() };
    assert_eq!(acme.external_account, Some(expected));
}
