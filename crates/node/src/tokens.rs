//! Who speaks to the service API: each instance has a token that says which one it is.
//!
//! A token is the instance's name and a keyed hash of it (HMAC-SHA-256, RFC 2104). Nothing is kept per
//! instance, so that a token stays good when the node is replaced while its instances run.

use hmac::{Hmac, KeyInit, Mac};
use madang_model::{InstanceId, UnitName};
use madang_store::Store;
use sha2::Sha256;

use crate::hex;

const SCHEMA: &[&str] = &["CREATE TABLE node_keys (name TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT"];

/// The size of a key in bytes: one block of SHA-256, so that it is used as it is.
pub(crate) const KEY: usize = 64;

/// Makes and checks tokens with this node's own key.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: [u8; KEY],
}

/// Who a token says is speaking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) unit: UnitName,
    pub(crate) instance: InstanceId,
}

impl Tokens {
    /// The key kept in the node's state, which is `fresh` the first time.
    pub(crate) async fn open(state: &Store, fresh: [u8; KEY]) -> Result<Self, madang_store::Error> {
        state.migrate("node", SCHEMA).await?;
        let key = state
            .write(move |tx| {
                let insert = "INSERT INTO node_keys (name, key) VALUES ('tokens', ?1) ON CONFLICT DO NOTHING";
                tx.execute(insert, [&fresh[..]])?;
                tx.query_row("SELECT key FROM node_keys WHERE name = 'tokens'", [], |row| row.get(0))
            })
            .await?;
        Ok(Self { key })
    }

    /// The token of an instance.
    pub(crate) fn issue(&self, unit: &UnitName, instance: &InstanceId) -> String {
        let mac = self.mac(unit, instance).finalize().into_bytes();
        format!("{unit}/{instance}/{}", hex::encode(&mac))
    }

    /// Who speaks, if the token is one of this node's. Takes the same time wherever a wrong one differs.
    pub(crate) fn check(&self, token: &str) -> Option<Bearer> {
        let mut parts = token.split('/');
        let unit: UnitName = parts.next()?.parse().ok()?;
        let instance = InstanceId(parts.next()?.into());
        let given = hex::decode(parts.next()?)?;
        if parts.next().is_some() {
            return None;
        }
        self.mac(&unit, &instance).verify_slice(&given).ok()?;
        Some(Bearer { unit, instance })
    }

    fn mac(&self, unit: &UnitName, instance: &InstanceId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(unit.as_str().as_bytes());
        mac.update(b"/"); // never part of a name, so that no two pairs are written alike
        mac.update(instance.0.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(unit: &str, instance: &str) -> Bearer {
        Bearer { unit: unit.parse().unwrap(), instance: InstanceId(instance.into()) }
    }

    #[test]
    fn a_token_names_its_instance_and_no_other() {
        let tokens = Tokens { key: [7; KEY] };
        let orders = bearer("orders", "orders-a1");
        let token = tokens.issue(&orders.unit, &orders.instance);
        assert_eq!(tokens.check(&token), Some(orders));

        let forged = token.replacen("orders/orders-a1", "payments/payments-b2", 1);
        assert_eq!(tokens.check(&forged), None);
        assert_eq!(Tokens { key: [8; KEY] }.check(&token), None, "another node's key");
        for bad in ["", "orders", "orders/orders-a1/", "orders/orders-a1/zz", &token[..token.len() - 2]] {
            assert_eq!(tokens.check(bad), None, "{bad}");
        }
    }
}
