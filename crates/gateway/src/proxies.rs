//! Who asks, where a proxy stands before the gateway: what those that the manifest trusts say of it, and nobody else.
//!
//! A chain is read from its end. Each proxy adds whom it heard from, so that what it adds is true as far as it is trusted,
//! and whatever stands before that is what its client says. The visitor is the first from the end who is not trusted.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use madang_model::{
    Network,
    edge::{ProxyHeader, TrustedProxies},
};

use crate::{auth::guard::Visitor, inspect::Sender};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whose word is taken.
pub(crate) struct Proxies {
    networks: Box<[Network]>,
    header: ProxyHeader,
}

/// What they say of a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) address: IpAddr,
    /// The same, as a service is told.
    field: HeaderValue,
    /// Whether the visitor speaks TLS to them; what the gateway itself sees if absent.
    secure: Option<bool>,
    /// The host that the visitor asked for; that of the request if absent.
    host: Option<HeaderValue>,
}

/// What one proxy says in `Forwarded`.
#[derive(Default)]
struct Element<'a> {
    node: &'a str,
    host: Option<&'a str>,
    proto: Option<&'a str>,
}

// === impl Proxies ===

impl Proxies {
    pub(crate) fn new(trusted: &TrustedProxies) -> Self {
        Self { networks: trusted.networks.as_slice().into(), header: trusted.header }
    }

    /// What a request says of the visitor; nothing if it comes from somebody else, or says nothing.
    pub(crate) fn told(&self, peer: IpAddr, fields: &HeaderMap) -> Option<Box<Told>> {
        if !self.trusts(peer) {
            return None;
        }
        let told = match self.header {
            ProxyHeader::XForwarded => self.by_three_fields(peer, fields),
            ProxyHeader::Forwarded => self.by_forwarded(peer, fields),
        };
        told.map(Box::new)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The visitor, and how many have spoken up to it. Who cannot be read is nobody: the one that said so is the last
    /// that is known.
    fn walk<'a>(&self, peer: IpAddr, from_the_end: impl Iterator<Item = &'a str>) -> (IpAddr, usize) {
        let (mut visitor, mut steps) = (peer, 0);
        for address in from_the_end.map_while(address) {
            (visitor, steps) = (address, steps + 1);
            if !self.trusts(address) {
                break;
            }
        }
        (visitor, steps)
    }

    fn by_three_fields(&self, peer: IpAddr, fields: &HeaderMap) -> Option<Told> {
        let (visitor, steps) = self.walk(peer, from_the_end(fields, &FORWARDED_FOR));
        // Proxies that each add what they see have said as much as of addresses; one that says what it was told has
        // said it once.
        let said = |name| from_the_end(fields, name).take(steps.max(1)).last();
        Told::new(visitor, said(&FORWARDED_PROTO), said(&FORWARDED_HOST), visitor == peer)
    }

    fn by_forwarded(&self, peer: IpAddr, fields: &HeaderMap) -> Option<Told> {
        let mut said = Vec::new();
        for field in fields.get_all(FORWARDED) {
            match field.to_str().ok().and_then(elements) {
                Some(elements) => said.extend(elements),
                // Who began a text that does not end has swallowed what others added.
                None => said.clear(),
            }
        }
        let (visitor, steps) = self.walk(peer, said.iter().rev().map(|element| element.node));
        let of = said.iter().rev().nth(steps.saturating_sub(1))?;
        Told::new(visitor, of.proto, of.host, visitor == peer)
    }
}

// === impl Told ===

impl Told {
    fn new(address: IpAddr, proto: Option<&str>, host: Option<&str>, is_peer: bool) -> Option<Self> {
        let secure = proto.and_then(|proto| match proto.trim() {
            it if it.eq_ignore_ascii_case("https") || it.eq_ignore_ascii_case("wss") => Some(true),
            it if it.eq_ignore_ascii_case("http") || it.eq_ignore_ascii_case("ws") => Some(false),
            _ => None,
        });
        let host = host.map(str::trim).filter(|host| !host.is_empty());
        let host = host.and_then(|host| HeaderValue::from_str(host).ok());
        if is_peer && secure.is_none() && host.is_none() {
            return None;
        }
        // An address is text.
        let field = HeaderValue::try_from(address.to_string()).ok()?;
        Some(Self { address, field, secure, host })
    }
}

/// Who sent a request, if somebody else brought it.
pub(crate) fn sender<'a>(told: Option<&'a Told>, brought: Sender<'a>) -> Sender<'a> {
    let Some(told) = told else { return brought };
    let secure = told.secure.unwrap_or(brought.secure);
    Sender { address: &told.field, secure, proxied: true, host: told.host.as_ref(), ..brought }
}

/// Who asks. A certificate is that of whoever has the connection, and says nothing of whom that speaks for.
pub(crate) fn visitor<'a>(told: Option<&Told>, peer: Visitor<'a>) -> Visitor<'a> {
    told.map_or(peer, |told| Visitor { address: told.address, peer: None, ..peer })
}

/// What a field lists, over all its lines, the last first.
fn from_the_end<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // What is no text is one item that nobody can read.
    let lines = fields.get_all(name).iter().rev().map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.rsplit(','))
}

/// An address, with a port or without; one of IPv6 may be in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

/// What each proxy says in one line, the first first; nothing if a text in it does not end.
fn elements(line: &str) -> Option<Vec<Element<'_>>> {
    outside_of_quotes(line, ',')?.into_iter().map(Element::of).collect()
}

impl<'a> Element<'a> {
    fn of(piece: &'a str) -> Option<Self> {
        let mut element = Self::default();
        for pair in outside_of_quotes(piece, ';')? {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value);
            match name.trim() {
                it if it.eq_ignore_ascii_case("for") => element.node = value,
                it if it.eq_ignore_ascii_case("host") => element.host = Some(value),
                it if it.eq_ignore_ascii_case("proto") => element.proto = Some(value),
                _ => {}
            }
        }
        Some(element)
    }
}

fn outside_of_quotes(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut pieces, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == at && !quoted => {
                pieces.push(&text[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[begin..]);
    (!quoted).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: ProxyHeader) -> Proxies {
        let networks = ["10.0.0.0/8", "2001:db8:a::/48"].map(|it| it.parse().unwrap()).into();
        Proxies::new(&TrustedProxies { networks, header })
    }

    /// Of whom a request from this peer is said to be: address, scheme and host, as far as that is said.
    fn told(header: ProxyHeader, peer: &str, lines: &[(&str, &str)]) -> String {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        match proxies(header).told(peer.parse().unwrap(), &fields) {
            None => "nothing".to_owned(),
            Some(told) => {
                assert_eq!(told.field, told.address.to_string());
                let scheme = told.secure.map_or("-", |secure| if secure { "https" } else { "http" });
                let host = told.host.as_ref().map_or("-", |host| host.to_str().unwrap());
                format!("{} {scheme} {host}", told.address)
            }
        }
    }

    const FOR: &str = "x-forwarded-for";
    const PROTO: &str = "x-forwarded-proto";
    const HOST: &str = "x-forwarded-host";

    #[test]
    fn the_visitor_is_the_first_from_the_end_who_is_not_trusted() {
        for (peer, lines, expected) in [
            ("10.0.0.1", &[(FOR, "192.0.2.7")][..], "192.0.2.7 - -"),
            ("203.0.113.9", &[(FOR, "192.0.2.7")], "nothing"),
            ("10.0.0.1", &[], "nothing"),
            ("10.0.0.1", &[(FOR, "192.0.2.7, 10.0.0.2")], "192.0.2.7 - -"),
            ("10.0.0.1", &[(FOR, "192.0.2.7"), (FOR, "10.0.0.2")], "192.0.2.7 - -"),
            ("::ffff:10.0.0.1", &[(FOR, "192.0.2.7")], "192.0.2.7 - -"),
            ("2001:db8:a::1", &[(FOR, "[2001:db8::7]:4711, 10.9.9.9:80")], "2001:db8::7 - -"),
            ("10.0.0.1", &[(FOR, "[2001:db8::7]")], "2001:db8::7 - -"),
            ("10.0.0.1", &[(FOR, "::ffff:192.0.2.7")], "192.0.2.7 - -"),
            // All are proxies: one of them asks for itself.
            ("10.0.0.1", &[(FOR, "10.0.0.3,10.0.0.2")], "10.0.0.3 - -"),
            // What a client writes before it is believed by nobody.
            ("10.0.0.1", &[(FOR, "127.0.0.1, 192.0.2.7")], "192.0.2.7 - -"),
            ("10.0.0.1", &[(FOR, "10.0.0.9, 192.0.2.7, 10.0.0.2")], "192.0.2.7 - -"),
            ("10.0.0.1", &[(FOR, "127.0.0.1"), (FOR, "192.0.2.7")], "192.0.2.7 - -"),
            // Who cannot be read is nobody, and neither is whoever stands before that.
            ("10.0.0.1", &[(FOR, "192.0.2.7, unknown")], "nothing"),
            ("10.0.0.1", &[(FOR, "192.0.2.7, unknown, 10.0.0.2")], "10.0.0.2 - -"),
            ("10.0.0.1", &[(FOR, "192.0.2.7,")], "nothing"),
            ("10.0.0.1", &[(FOR, "192.0.2.7:x, 10.0.0.2")], "10.0.0.2 - -"),
            ("10.0.0.1", &[(FOR, "fe80::1%eth0")], "nothing"),
            // Another kind of field is the client's.
            ("10.0.0.1", &[("forwarded", "for=192.0.2.8"), ("x-real-ip", "192.0.2.8")], "nothing"),
        ] {
            assert_eq!(told(ProxyHeader::XForwarded, peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_scheme_and_the_host_are_the_visitors() {
        for (lines, expected) in [
            (&[(PROTO, "https"), (HOST, "shop.example")][..], "10.0.0.1 https shop.example"),
            (&[(FOR, "192.0.2.7"), (PROTO, "HTTPS")], "192.0.2.7 https -"),
            (&[(FOR, "192.0.2.7"), (PROTO, "gopher")], "192.0.2.7 - -"),
            // Two proxies, of which the outer one speaks TLS to the visitor.
            (&[(FOR, "192.0.2.7, 10.0.0.2"), (PROTO, "https, http")], "192.0.2.7 https -"),
            (&[(FOR, "192.0.2.7, 10.0.0.2"), (PROTO, "https")], "192.0.2.7 https -"),
            // What a client claims stands before what its proxy saw.
            (&[(FOR, "192.0.2.7"), (PROTO, "https, http")], "192.0.2.7 http -"),
            (
                &[(FOR, "1.1.1.1, 192.0.2.7"), (HOST, "evil.example, shop.example")],
                "192.0.2.7 - shop.example",
            ),
        ] {
            assert_eq!(told(ProxyHeader::XForwarded, "10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_standard_has_it() {
        for (lines, expected) in [
            (&["for=192.0.2.7;proto=https;host=shop.example"][..], "192.0.2.7 https shop.example"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17 - -"),
            (&["for=192.0.2.7;proto=https, for=10.0.0.2;proto=http"], "192.0.2.7 https -"),
            (&["for=192.0.2.7;proto=https", "for=10.0.0.2;proto=http"], "192.0.2.7 https -"),
            (&["for=127.0.0.1, for=192.0.2.7;by=10.0.0.1"], "192.0.2.7 - -"),
            (&["for=\"192.0.2.7:80\";host=\"shop.example:8443\""], "192.0.2.7 - shop.example:8443"),
            (&["for=unknown"], "nothing"),
            (&["for=_hidden, for=10.0.0.2"], "10.0.0.2 - -"),
            (&["proto=https"], "10.0.0.1 https -"),
            // A comma in a text is none between proxies, and a text that does not end has no word at all.
            (&["for=\"1.1.1.1, for=9.9.9.9\", for=192.0.2.7"], "192.0.2.7 - -"),
            (&["for=\"1.1.1.1, for=192.0.2.7"], "nothing"),
            (&["for=\"1.1.1.1\\\", for=192.0.2.7"], "nothing"),
            (&["for=\"1.1.1.1", "for=192.0.2.7"], "192.0.2.7 - -"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            assert_eq!(told(ProxyHeader::Forwarded, "10.0.0.1", &lines), expected, "{lines:?}");
        }
        let client = [(FOR, "1.1.1.1"), (PROTO, "https"), ("forwarded", "for=192.0.2.7")];
        assert_eq!(told(ProxyHeader::Forwarded, "10.0.0.1", &client), "192.0.2.7 - -");
    }
}
