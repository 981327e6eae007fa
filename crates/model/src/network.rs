//! A network of addresses, as `10.0.0.0/8`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Serialize, Serializer};

/// All addresses that begin with the same bits (RFC 4632, RFC 4291); an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkError {
    /// It is neither an address nor one with a length.
    #[error("\"{0}\" is not a network: write \"10.0.0.0/8\", \"fd00::/8\" or an address")]
    Form(String),
    /// Bits are set beyond its length: it is likely not what was meant.
    #[error("\"{given}\" has bits beyond its length: write \"{network}\"")]
    Beyond {
        /// What was written.
        given: String,
        /// The network that it is in.
        network: Network,
    },
}

// === impl Network ===

impl Network {
    /// Whether an address is in it. One of IPv4 is the same written as one of IPv6.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                (u32::from(own) ^ u32::from(other)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                (u128::from(own) ^ u128::from(other)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether every address is in it, of its kind.
    pub(crate) fn is_everything(self) -> bool {
        self.bits == 0
    }

    /// Its first address.
    fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4((u32::from(own) & mask).into())
            }
            IpAddr::V6(own) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6((u128::from(own) & mask).into())
            }
        }
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseNetworkError::Form(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| form())?
            }
            Some(_) => return Err(form()),
        };
        if bits > most {
            return Err(form());
        }
        let given = Self { address, bits };
        let network = Self { address: given.first(), bits };
        if network.address != address {
            return Err(ParseNetworkError::Beyond { given: text.to_owned(), network });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits == most {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} is in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} is not in {network}");
            assert_eq!(parsed.to_string(), network);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/8/8", "a/8"] {
            assert_eq!(text.parse::<Network>(), Err(ParseNetworkError::Form(text.to_owned())));
        }
        let beyond = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert_eq!(beyond.to_string(), "\"10.1.2.3/8\" has bits beyond its length: write \"10.0.0.0/8\"");
        assert!("2001:db8::1/32".parse::<Network>().is_err());
    }
}
