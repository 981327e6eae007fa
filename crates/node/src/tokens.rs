//! Who speaks to the service API: each instance has a token that says which one it is, and programs that others
//! start have one that says which service they are.
//!
//! A token is the bearer's name and a keyed hash of it (HMAC-SHA-256, RFC 2104). Nothing is kept of a token, so
//! that it stays good when the node is replaced while its bearer runs.

use hmac::{Hmac, KeyInit, Mac};
use madang_model::{InstanceId, ServiceName, UnitName};
use madang_store::Store;
use sha2::Sha256;

use crate::hex;

const SCHEMA: &[&str] = &["CREATE TABLE node_keys (name TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT"];

/// The size of a key in bytes: one block of SHA-256, so that it is used as it is.
pub(crate) const KEY: usize = 64;

/// Begins the token of a service. No name of a unit has its last character, so that none is written alike.
const SERVICE: &str = "service:";

/// Begins the token of a unit that a person runs.
const UNIT: &str = "unit:";

/// Makes and checks tokens with this node's own key.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: [u8; KEY],
}

/// Who a token says is speaking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// An instance that this node runs.
    Instance { unit: UnitName, instance: InstanceId },
    /// An instance of this service that others run.
    Service(ServiceName),
    /// This unit as a person runs it, in the place of an instance.
    Unit(UnitName),
}

impl Tokens {
    /// The key kept in the node's state, which is `fresh` the first time.
    pub(crate) async fn open(state: &Store, fresh: [u8; KEY]) -> Result<Self, madang_store::Error> {
        Ok(Self { key: kept_key(state, "tokens", fresh).await? })
    }

    /// The token of an instance.
    pub(crate) fn issue(&self, unit: &UnitName, instance: &InstanceId) -> String {
        let mac = self.mac(unit, instance).finalize().into_bytes();
        format!("{unit}/{instance}/{}", hex::encode(&mac))
    }

    /// The token of those who join a service.
    pub(crate) fn issue_for(&self, service: &ServiceName) -> String {
        let mac = self.mac_of(service).finalize().into_bytes();
        format!("{SERVICE}{service}/{}", hex::encode(&mac))
    }

    /// The token of a unit that a person runs.
    pub(crate) fn issue_for_unit(&self, unit: &UnitName) -> String {
        let mac = self.mac_for(UNIT, unit.as_str()).finalize().into_bytes();
        format!("{UNIT}{unit}/{}", hex::encode(&mac))
    }

    /// Who speaks, if the token is one of this node's. Takes the same time wherever a wrong one differs.
    pub(crate) fn check(&self, token: &str) -> Option<Bearer> {
        if let Some(rest) = token.strip_prefix(SERVICE) {
            let (service, given) = rest.split_once('/')?;
            let service: ServiceName = service.parse().ok()?;
            return proves(self.mac_of(&service), given).then_some(Bearer::Service(service));
        }
        if let Some(rest) = token.strip_prefix(UNIT) {
            let (unit, given) = rest.split_once('/')?;
            let unit: UnitName = unit.parse().ok()?;
            return proves(self.mac_for(UNIT, unit.as_str()), given).then_some(Bearer::Unit(unit));
        }
        let mut parts = token.split('/');
        let unit: UnitName = parts.next()?.parse().ok()?;
        let instance = InstanceId(parts.next()?.into());
        let given = parts.next()?;
        let proven = parts.next().is_none() && proves(self.mac(&unit, &instance), given);
        proven.then_some(Bearer::Instance { unit, instance })
    }

    fn mac_of(&self, service: &ServiceName) -> Hmac<Sha256> {
        self.mac_for(SERVICE, service.as_str())
    }

    fn mac_for(&self, kind: &str, name: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(kind.as_bytes());
        mac.update(name.as_bytes());
        mac
    }

    fn mac(&self, unit: &UnitName, instance: &InstanceId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(unit.as_str().as_bytes());
        mac.update(b"/"); // never part of a name, so that no two pairs are written alike
        mac.update(instance.0.as_bytes());
        mac
    }
}

/// Whether these digits are the hash. The only place where one is compared with what somebody sent: it takes the same time
/// wherever a wrong one differs, since that is how `hmac` compares (`subtle`), and only one of its whole length is equal.
pub(crate) fn proves(mac: Hmac<Sha256>, given: &str) -> bool {
    hex::decode(given).is_some_and(|given| mac.verify_slice(&given).is_ok())
}

/// The key kept in the node's state under a name, which is `fresh` the first time.
pub(crate) async fn kept_key(
    state: &Store,
    name: &'static str,
    fresh: [u8; KEY],
) -> Result<[u8; KEY], madang_store::Error> {
    state.migrate("node", SCHEMA).await?;
    let write = move |tx: &madang_store::rusqlite::Transaction<'_>| {
        let insert = "INSERT INTO node_keys (name, key) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        tx.execute(insert, (name, &fresh[..]))?;
        tx.query_row("SELECT key FROM node_keys WHERE name = ?1", [name], |row| row.get(0))
    };
    state.write(write).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_instance_and_no_other() {
        let tokens = Tokens { key: [7; KEY] };
        let (unit, instance): (UnitName, _) = ("orders".parse().unwrap(), InstanceId("orders-a1".into()));
        let token = tokens.issue(&unit, &instance);
        assert_eq!(tokens.check(&token), Some(Bearer::Instance { unit, instance }));

        let forged = token.replacen("orders/orders-a1", "payments/payments-b2", 1);
        assert_eq!(tokens.check(&forged), None);
        assert_eq!(Tokens { key: [8; KEY] }.check(&token), None, "another node's key");
        for bad in ["", "orders", "orders/orders-a1/", "orders/orders-a1/zz", &token[..token.len() - 2]] {
            assert_eq!(tokens.check(bad), None, "{bad}");
        }
    }

    /// Whatever is not the token to its last digit is none: each beginning of it, each with another character at any place,
    /// each that is longer, and each that writes the same bytes in another way.
    #[test]
    fn only_the_whole_token_is_one() {
        let tokens = Tokens { key: [7; KEY] };
        let unit: UnitName = "orders".parse().unwrap();
        for token in [
            tokens.issue(&unit, &InstanceId("orders-a1".into())),
            tokens.issue_for(&"orders".parse().unwrap()),
            tokens.issue_for_unit(&unit),
        ] {
            let token = token.as_str();
            assert!(tokens.check(token).is_some());
            let prefixes = (0..token.len()).map(|end| token[..end].to_owned());
            let suffixes = (1..token.len()).map(|start| token[start..].to_owned());
            let changed = (0..token.len()).flat_map(|at| {
                let others =
                    "0123456789abcdefxA+/: ".chars().filter(move |c| token[at..=at] != c.to_string());
                others.map(|other| format!("{}{other}{}", &token[..at], &token[at + 1..])).collect::<Vec<_>>()
            });
            let mac = token.rsplit_once('/').unwrap().1;
            let longer = ["0", "00", " ", "/", "\n", mac].map(|more| format!("{token}{more}"));
            let others = [token.to_uppercase(), token.replace(mac, &mac.to_uppercase()), format!(" {token}")];
            let all: Vec<_> = prefixes.chain(suffixes).chain(changed).chain(longer).chain(others).collect();
            assert!(all.len() > 1_000);
            for wrong in all {
                assert_eq!(tokens.check(&wrong), None, "{wrong} is not {token}");
            }
        }
    }

    #[test]
    fn a_token_of_a_service_is_for_no_other_and_for_no_instance() {
        let tokens = Tokens { key: [7; KEY] };
        let orders: ServiceName = "orders".parse().unwrap();
        let token = tokens.issue_for(&orders);
        assert_eq!(tokens.check(&token), Some(Bearer::Service(orders)));
        assert_eq!(tokens.check(&token.replace("orders", "payments")), None);
        let mac = token.split_once('/').unwrap().1;
        for forged in ["service/orders", "service:orders/", "service:/orders", "orders/", "orders"] {
            assert_eq!(tokens.check(&format!("{forged}/{mac}")), None, "{forged}");
        }
    }

    #[test]
    fn a_token_of_a_unit_is_for_no_other_and_for_no_service_of_its_name() {
        let tokens = Tokens { key: [7; KEY] };
        let token = tokens.issue_for_unit(&"orders".parse().unwrap());
        assert_eq!(tokens.check(&token), Some(Bearer::Unit("orders".parse().unwrap())));
        for (from, to) in [("orders", "payments"), ("unit:", "service:"), ("unit:orders", "orders/orders-a")]
        {
            assert_eq!(tokens.check(&token.replace(from, to)), None, "{to}");
        }
    }
}
