//! A gateway that speaks TLS has something to show, and says of clients what holds together.

use std::collections::BTreeSet;

use crate::{
    Challenge,
    manifest::{
        error::{Code, Found, ManifestError},
        raw::RawSystem,
        source::At,
        tls::{RawAcme, RawTls},
    },
};

/// How many names one certificate is signed for: what Let's Encrypt and most others take.
const MOST_DOMAINS: usize = 100;

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    if let Some(tls) = raw.tls.as_ref().filter(|tls| tls.sound) {
        if tls.certificates.is_empty() && !tls.is_for_development() && tls.acme.is_none() {
            found.push(
                ManifestError::new(Code::NO_CERTIFICATE, "the gateway speaks TLS, and has no certificate to show")
                    .at(&tls.spot, "neither certificates nor acme nor development")
                    .hint("add certificates = [{ certificate = \"certs/shop.pem\", key = \"certs/shop.key\" }], [gateway.tls.acme] for one that an authority on the network signs, or development = true for one that Madang makes for this machine"),
            );
        }
        if let (Some(clients), None) = (&tls.clients, &tls.client_ca) {
            found.push(
                ManifestError::new(Code::CONTRADICTION, "nobody says which certificates of clients are good")
                    .at(&clients.spot, "asks for certificates of clients")
                    .hint("name the authorities that sign them: client_ca = \"certs/clients.pem\""),
            );
        }
        if let (Some(lists), None) = (&tls.client_crl, &tls.client_ca) {
            found.push(
                ManifestError::new(
                    Code::CONTRADICTION,
                    "no client is asked for a certificate that could be taken back",
                )
                .at(&lists.spot, "is about certificates of clients")
                .hint("name the authorities that sign them: client_ca = \"certs/clients.pem\""),
            );
        }
        if let Some(acme) = &tls.acme {
            domains(acme, found);
            proof(tls, acme, found);
        }
    }
    let certificates = raw.auth.as_ref().and_then(|auth| auth.certificates.as_ref());
    if let Some(at) = certificates.filter(|at| at.value)
        && !raw.has_tls_clients
    {
        found.push(
            ManifestError::new(Code::NOBODY_KNOWS, "no client is asked for its certificate")
                .at(&at.spot, "needs [gateway.tls] with `client_ca`")
                .hint("name the authorities that sign them: [gateway.tls] with client_ca = \"certs/clients.pem\""),
        );
    }
}

fn domains(acme: &RawAcme, found: &mut Found) {
    if let Some(spot) = &acme.nowhere {
        found.push(
            ManifestError::new(Code::BAD_DOMAIN, "a certificate is for at least one host")
                .at(spot, "names none")
                .hint("write the names that lead to this gateway: domains = [\"shop.example\"]"),
        );
    }
    if let Some(At { spot, .. }) = acme.domains.get(MOST_DOMAINS) {
        found.push(
            ManifestError::new(
                Code::BAD_DOMAIN,
                format!("a certificate is for {MOST_DOMAINS} hosts at most"),
            )
            .at(spot, "is one too many")
            .hint(
                "authorities sign no more; have files written for the rest, and name them in `certificates`",
            ),
        );
    }
    let mut seen = BTreeSet::new();
    for At { value, spot } in &acme.domains {
        if !seen.insert(value.to_ascii_lowercase()) {
            found.push(
                ManifestError::new(Code::SAID_TWICE, format!("{value} is named twice"))
                    .at(spot, "was named before")
                    .hint("leave one of them"),
            );
        }
    }
}

/// The authority has to get an answer to what it asks.
fn proof(tls: &RawTls, acme: &RawAcme, found: &mut Found) {
    let spot = acme.challenge.as_ref().map_or(&tls.spot, |at| &at.spot);
    let (why, label, help) = match acme.challenge() {
        Challenge::Http01 if tls.redirect.is_none() => (
            "nothing listens where the authority asks in plain",
            "is answered by the listener of `redirect`",
            "add redirect = \"0.0.0.0:80\" to [gateway.tls], or write challenge = \"tls-alpn-01\"",
        ),
        Challenge::TlsAlpn01 if tls.asks_everybody() => (
            "the authority has no certificate of a client, and would not be let in",
            "is asked over TLS, where every client must have one",
            "write challenge = \"http-01\" with a `redirect`, or clients = \"optional\"",
        ),
        Challenge::Http01 | Challenge::TlsAlpn01 => return,
    };
    found.push(ManifestError::new(Code::NO_PROOF, why).at(spot, label).hint(help));
}
