//! Which hosts a connection is good for (RFC 9110, section 7.4).
//!
//! A browser uses a connection for every host that its certificate is for. Where a gateway has several certificates, a
//! request may so come by a connection on which another host than its own has proven who it is.

use std::sync::Arc;

use super::names::Names;

/// What a connection is good for whose client has named a host in the handshake.
pub(crate) struct Reach {
    names: Arc<Names>,
    asked: String,
}

impl Reach {
    /// Nothing where it could not matter: there is but one certificate to show, or the client named nobody, as those do
    /// that do not verify who answers.
    pub(super) fn of(names: &Arc<Names>, asked: Option<&str>) -> Option<Self> {
        let asked = asked.filter(|_| names.is_choice())?;
        Some(Self { names: names.clone(), asked: asked.to_ascii_lowercase() })
    }

    /// Whether a request for this host may come by it: what was shown is for it, or nothing else would be shown.
    pub(crate) fn covers(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.asked)
            || self.names.are_together(&self.asked, &host.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn a_connection_is_good_for_the_hosts_of_its_certificate_and_for_those_that_have_none() {
        let authority = Authority::new("a");
        let certificates = [&["shop.example", "*.shop.example"][..], &["pay.example"], &["api.shop.example"]]
            .map(|names| authority.certificate(names));
        let names = Arc::new(Names::new(&certificates, None).unwrap());
        for (asked, host, expected) in [
            ("shop.example", "shop.example", true),
            ("shop.example", "SHOP.example", true),
            ("shop.example", "www.shop.example", true),
            ("Shop.example", "api.shop.example", true), // the star is for it too
            ("shop.example", "pay.example", false),
            ("pay.example", "shop.example", false),
            ("api.shop.example", "shop.example", false),
            ("pay.example", "other.example", true), // nobody else could answer for it
            ("other.example", "shop.example", true), // the first was shown
            ("other.example", "pay.example", false),
            ("pay.example", "127.0.0.1", true),
        ] {
            let reach = Reach::of(&names, Some(asked)).unwrap();
            assert_eq!(reach.covers(host), expected, "{host} where {asked} was asked for");
        }
        assert!(Reach::of(&names, None).is_none(), "who names nobody verifies nobody");
        let one = Arc::new(Names::new(&certificates[..1], None).unwrap());
        assert!(Reach::of(&one, Some("shop.example")).is_none());
    }
}
