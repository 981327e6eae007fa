//! A client that has shown a certificate: who it is, as far as a route can ask.

use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use super::x509;
use crate::auth::sealed::Sealed;

/// A client whose certificate an authority of the manifest has signed; the handshake has verified it.
pub(crate) struct Peer {
    /// What the certificate says, as the claims of a token: `uri` and `dns`, its alternative names, and what its subject
    /// is called, in lower case: `cn`, `o`, `ou`.
    pub(crate) claims: Map<String, Value>,
    /// Its name: the first URI, as SPIFFE has it, or else the subject as RFC 4514 writes it.
    pub(crate) subject: String,
    /// When the certificate has ended, in seconds since 1970. A connection may outlive it.
    pub(crate) ends: u64,
    /// As services are told of it, once it was asked for. Only the worker of its connection locks it.
    pub(crate) known: Mutex<Option<Arc<Sealed>>>,
}

impl Peer {
    /// Nothing if it names nobody, so that nobody is known.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        let attributes = x509::subject(certificate)?;
        let (_, ends) = x509::validity(certificate)?;
        let list = |names: Vec<&str>| Value::from(names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let uris: Vec<&str> = parsed.valid_uri_names().collect();
        let subject = match uris.first() {
            Some(uri) => (*uri).to_owned(),
            None => distinguished(&attributes),
        };
        let mut claims: Map<String, Value> =
            [("uri", list(uris)), ("dns", list(parsed.valid_dns_names().collect()))]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
        for (name, text) in attributes {
            let all = claims.entry(name.to_ascii_lowercase()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = all {
                all.push(text.into());
            }
        }
        (!subject.is_empty()).then(|| Self { claims, subject, ends, known: Mutex::default() })
    }
}

/// The last first, with what has a meaning there behind a backslash (RFC 4514, section 2).
fn distinguished(attributes: &[(&str, String)]) -> String {
    let escaped = |text: &str| {
        let mut escaped = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            let at_end = at + c.len_utf8() == text.len();
            let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
                || (c == '#' && at == 0)
                || (c == ' ' && (at == 0 || at_end));
            if special {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    let parts = attributes.iter().rev().map(|(name, text)| format!("{name}={}", escaped(text)));
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn a_client_is_called_by_its_uri_or_else_by_its_subject() {
        let authority = Authority::new("a");
        let of =
            |subject: &[(rcgen::DnType, &str)], uris: &[&str]| Peer::of(&authority.client(subject, uris).0);
        let subject =
            [(rcgen::DnType::OrganizationName, "Shop, Inc."), (rcgen::DnType::CommonName, "#orders ")];
        let orders = of(&subject, &[]).unwrap();
        assert_eq!(orders.subject, r"CN=\#orders\ ,O=Shop\, Inc.");
        assert_eq!(
            json!(orders.claims),
            json!({ "uri": [], "dns": [], "cn": ["#orders "], "o": ["Shop, Inc."] })
        );
        let pay = of(&subject, &["spiffe://shop.example/pay"]).unwrap();
        assert_eq!(pay.subject, "spiffe://shop.example/pay");
        assert_eq!(pay.claims["uri"], json!(["spiffe://shop.example/pay"]));
        assert!(of(&[], &[]).is_none(), "it is nobody's");
    }
}
