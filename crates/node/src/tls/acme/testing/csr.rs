//! What is asked to be signed (RFC 2986): as much of it as is signed.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};

/// How the key of a request begins: on P-256, in a string of 66 bytes that has no unused bits.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A point on P-256, uncompressed.
pub(super) struct Key(Vec<u8>);

/// The key of a request that is for all of these hosts.
pub(super) fn key(csr: &[u8], hosts: &[String]) -> Result<Key, String> {
    if let Some(missing) = hosts.iter().find(|host| find(csr, host.as_bytes()).is_none()) {
        return Err(format!("it does not ask for {missing}"));
    }
    let at = find(csr, P256).ok_or("its key is not on P-256")? + P256.len();
    Ok(Key(csr.get(at..at + 65).ok_or("it is cut off")?.to_vec()))
}

pub(super) fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    all.windows(part.len()).position(|window| window == part)
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
