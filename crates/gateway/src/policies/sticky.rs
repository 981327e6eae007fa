//! The same of several targets again, for whoever comes again.
//!
//! Each client draws a number for each target, which is always the same, and gets the target whose number is largest for
//! its weight. A change of one weight moves only clients to that target or from it (weighted rendezvous hashing: Schindelhauer
//! and Schomaker, "Weighted distributed hash tables", 2005).

use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use madang_model::{Route, edge::Sticky as Rule};

use super::limit::network;

/// By what, and among which.
pub(crate) struct Sticky {
    by: By,
    /// The weight of each target and the hash of its name.
    targets: Box<[(f64, u64)]>,
}

enum By {
    Address,
    Header(HeaderName),
    Cookie { name: String, attributes: String },
}

impl Sticky {
    /// Targets are those of the route with a weight, in its order.
    pub(crate) fn new(route: &Route) -> Option<Self> {
        let by = match route.sticky.as_ref()? {
            Rule::Address => By::Address,
            Rule::Header(name) => By::Header(name.parse().ok()?),
            Rule::Cookie { name, max_age } => {
                let age = max_age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
                By::Cookie {
                    name: name.clone(),
                    attributes: format!("; Path=/; HttpOnly; SameSite=Lax{age}"),
                }
            }
        };
        let targets = route.to.iter().filter(|to| to.weight > 0);
        let targets = targets.map(|to| (f64::from(to.weight), hash(to.service.as_str().as_bytes())));
        Some(Self { by, targets: targets.collect() })
    }

    /// Which target, and the cookie by which it will be the same again, if the client has none.
    pub(crate) fn choose(
        &self,
        address: std::net::IpAddr,
        fields: &HeaderMap,
        draw: impl FnOnce() -> u64,
    ) -> (usize, Option<HeaderValue>) {
        let of_address = || hash(&network(address).to_be_bytes());
        match &self.by {
            By::Address => (self.of(of_address()), None),
            By::Header(name) => {
                let key = fields.get(name).map_or_else(of_address, |value| hash(value.as_bytes()));
                (self.of(key), None)
            }
            By::Cookie { name, attributes } => match cookie(fields, name) {
                Some(key) => (self.of(key), None),
                None => {
                    let key = draw();
                    (self.of(key), HeaderValue::try_from(format!("{name}={key:016x}{attributes}")).ok())
                }
            },
        }
    }

    fn of(&self, client: u64) -> usize {
        let score = |(weight, target): &(f64, u64)| {
            // Within (0, 1): 53 bits, and half a step more.
            let drawn = ((mix(client ^ target) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -weight / drawn.ln()
        };
        let scores = self.targets.iter().map(score).enumerate();
        scores.max_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(index, _)| index)
    }
}

/// The number in the cookie of this name; whoever has another value there gets a new one.
fn cookie(fields: &HeaderMap, name: &str) -> Option<u64> {
    let all = fields.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let value = all.flat_map(|text| text.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })?;
    let digits = value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(value, 16).ok()).flatten()
}

/// FNV-1a, and a mix: the same on every machine and in every version.
fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky(by: By, weights: &[(&str, u32)]) -> Sticky {
        let targets =
            weights.iter().map(|(name, weight)| (f64::from(*weight), hash(name.as_bytes()))).collect();
        Sticky { by, targets }
    }

    fn shares(weights: &[(&str, u32)]) -> Vec<usize> {
        let sticky = sticky(By::Address, weights);
        (0..20_000_u64).map(|client| sticky.of(mix(client + 1))).collect()
    }

    #[test]
    fn clients_are_divided_by_weight() {
        let shares = shares(&[("old", 90), ("new", 10)]);
        let new = shares.iter().filter(|chosen| **chosen == 1).count();
        assert!((1800..2200).contains(&new), "{new} of 20000");
    }

    #[test]
    fn a_change_of_weights_moves_only_whom_it_must() {
        let before = shares(&[("old", 90), ("new", 10)]);
        let after = shares(&[("old", 90), ("new", 30)]);
        let back = before.iter().zip(&after).filter(|(before, after)| **before == 1 && **after == 0).count();
        assert_eq!(back, 0, "who had the new one keeps it");
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!((2600..3400).contains(&moved), "{moved}: from a tenth to a quarter");
    }

    #[test]
    fn a_cookie_is_given_once_and_leads_to_the_same() {
        let attributes = "; Path=/".to_owned();
        let sticky = sticky(By::Cookie { name: "variant".into(), attributes }, &[("a", 1), ("b", 1)]);
        let address = "192.0.2.1".parse().unwrap();
        let (first, given) = sticky.choose(address, &HeaderMap::new(), || 7);
        assert_eq!(given.unwrap(), "variant=0000000000000007; Path=/");
        let with = |cookie: &str| [(COOKIE, cookie.parse().unwrap())].into_iter().collect::<HeaderMap>();
        let (again, given) = sticky.choose(address, &with("a=b; variant=0000000000000007"), || 8);
        assert_eq!((again, given), (first, None));
        for other in ["variant=7", "variant=zzzzzzzzzzzzzzzz", "variants=0000000000000007"] {
            assert!(sticky.choose(address, &with(other), || 8).1.is_some(), "{other}");
        }
    }

    #[test]
    fn a_header_or_an_address_leads_to_the_same() {
        let by_header = sticky(By::Header(HeaderName::from_static("x-user")), &[("a", 1), ("b", 1)]);
        let chosen = |user: &str, address: &str| {
            let fields = [(HeaderName::from_static("x-user"), user.parse().unwrap())].into_iter();
            let fields: HeaderMap = fields.filter(|_| !user.is_empty()).collect();
            by_header.choose(address.parse().unwrap(), &fields, || 0).0
        };
        for user in 0..50 {
            let user = format!("user-{user}");
            assert_eq!(chosen(&user, "192.0.2.1"), chosen(&user, "192.0.2.99"));
        }
        for net in 0..50 {
            assert_eq!(
                chosen("", &format!("2001:db8:0:{net}::1")),
                chosen("", &format!("2001:db8:0:{net}::2"))
            );
        }
        assert!((0..50).any(|net| chosen("", &format!("192.0.2.{net}")) == 0));
        assert!((0..50).any(|net| chosen("", &format!("192.0.2.{net}")) == 1));
    }
}
