//! A gateway that speaks TLS has something to show, and says of clients what holds together.

use crate::manifest::{
    error::{Code, Found, ManifestError},
    raw::RawSystem,
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    if let Some(tls) = raw.tls.as_ref().filter(|tls| tls.sound) {
        if tls.certificates.is_empty() && !tls.is_for_development() {
            found.push(
                ManifestError::new(Code::NO_CERTIFICATE, "the gateway speaks TLS, and has no certificate to show")
                    .at(&tls.spot, "neither certificates nor development")
                    .hint("add certificates = [{ certificate = \"certs/shop.pem\", key = \"certs/shop.key\" }], or development = true for one that Madang makes for this machine"),
            );
        }
        if let (Some(clients), None) = (&tls.clients, &tls.client_ca) {
            found.push(
                ManifestError::new(Code::CONTRADICTION, "nobody says which certificates of clients are good")
                    .at(&clients.spot, "asks for certificates of clients")
                    .hint("name the authorities that sign them: client_ca = \"certs/clients.pem\""),
            );
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
