//! The keys of `[gateway.tls]`.

use super::{Format, LISTEN, Shape, Table, key, required};

pub(in crate::manifest) static TLS: Table = Table {
    noun: "[gateway.tls]",
    schema: "tls",
    groups: &[&[
        key(
            "certificates",
            Shape::List(&Shape::Table(&CERTIFICATE)),
            "What it shows: to each client the one for the host that it names, or else the first. Read again when a file changes.",
        ),
        key(
            "development",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether it shows a certificate that Madang makes for this machine, by an authority of its own. Default false.",
        ),
        key(
            "min_version",
            Shape::Choice(&["1.2", "1.3"]),
            "The oldest version of TLS that is spoken. Default 1.2.",
        ),
        key(
            "redirect",
            LISTEN,
            "Where requests without TLS are sent on to https: an address with a port, or a port on 127.0.0.1.",
        ),
        key(
            "client_ca",
            Shape::Text(Format::Free),
            "The file with the authorities that sign the certificates of clients, as PEM, relative to the manifest.",
        ),
        key(
            "clients",
            Shape::Choice(&["optional", "required"]),
            "Whether nobody is let in without a certificate of these authorities. Default required.",
        ),
        key(
            "client_crl",
            Shape::Text(Format::Free),
            "The file with the authorities' lists of certificates that they have taken back, as PEM, relative to the manifest. Read again when it changes.",
        ),
        key(
            "acme",
            Shape::Table(&ACME),
            "An authority on the network (ACME) that signs a certificate, and signs it anew when it suggests to, or at half its life.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static CERTIFICATE: Table = Table {
    noun: "a certificate",
    schema: "certificate",
    groups: &[&[
        required(
            "certificate",
            Shape::Text(Format::Free),
            "The file with the certificate and those that signed it, as PEM, relative to the manifest.",
        ),
        required(
            "key",
            Shape::Text(Format::Free),
            "The file with its private key, as PEM, relative to the manifest.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static ACME: Table = Table {
    noun: "[gateway.tls.acme]",
    schema: "acme",
    groups: &[&[
        required(
            "domains",
            Shape::List(&Shape::Text(Format::Domain)),
            "The hosts that the certificate is for: names that lead to this gateway wherever it is asked.",
        ),
        required(
            "terms",
            Shape::Choice(&["agreed"]),
            "That you have read the terms of the authority and agree to them: \"agreed\".",
        ),
        key("contact", Shape::Text(Format::Mail), "The mail address to which the authority may write."),
        key(
            "directory",
            Shape::Text(Format::Directory),
            "The authority. Default https://acme-v02.api.letsencrypt.org/directory, which is Let's Encrypt.",
        ),
        key(
            "challenge",
            Shape::Choice(&["tls-alpn-01", "http-01"]),
            "How the authority sees that a host is this gateway's: over TLS on port 443, or in plain on port 80, where `redirect` answers. Default tls-alpn-01.",
        ),
        key(
            "ca",
            Shape::Text(Format::Free),
            "The file with who signs the authority's own server, as PEM, relative to the manifest. Default: those whom this machine trusts.",
        ),
        key(
            "external_account",
            Shape::Table(&EXTERNAL_ACCOUNT),
            "As whom the authority knows you elsewhere, if it signs for its customers alone: what it gives out as the key id and the HMAC key of an external account binding (EAB).",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static EXTERNAL_ACCOUNT: Table = Table {
    noun: "`external_account`",
    schema: "external-account",
    groups: &[&[
        required("id", Shape::Text(Format::Free), "The id of the key."),
        required("key", Shape::Text(Format::Secret), "The HMAC key, in base64url: `${secret.NAME}`."),
    ]],
    forms: &[],
};
