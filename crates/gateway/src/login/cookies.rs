//! Cookies that nobody but the gateway can read or make.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use serde::{Serialize, de::DeserializeOwned};

/// What the names of all cookies of the gateway begin with, and those of them.
pub(super) const OURS: &str = "madang-";
pub(super) const SESSION: &str = "madang-session";
pub(super) const FLOW: &str = "madang-login";

/// The most of a text that is in one cookie, in bytes, and in how many it may be: browsers keep 4096 bytes of each, and
/// servers read a few more of all.
const PART: usize = 3800;
const PARTS: usize = 4;

/// How much of a key's hash says which it is.
const ID: usize = 4;

/// The keys that seal.
#[derive(Default)]
pub(crate) struct Seals {
    keys: Vec<([u8; ID], LessSafeKey)>,
}

// === impl Seals ===

impl Seals {
    /// The first seals, all open.
    pub(super) fn new(keys: &[[u8; 32]]) -> Self {
        let key = |key: &[u8; 32]| {
            let mut id = [0; ID];
            id.copy_from_slice(&digest(&SHA256, key).as_ref()[..ID]);
            Some((id, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?)))
        };
        Self { keys: keys.iter().filter_map(key).collect() }
    }

    /// Seals something for one purpose; nothing if there is no key.
    pub(super) fn seal(&self, purpose: &str, value: &impl Serialize) -> Option<String> {
        let (id, key) = self.keys.first()?;
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = serde_json::to_vec(value).ok()?;
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(unique, Aad::from(purpose), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([id, &nonce[..], &sealed].concat()))
    }

    /// What was sealed for this purpose.
    pub(super) fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_at_checked(ID)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == id)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = key.open_in_place(nonce, Aad::from(purpose), &mut sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

/// All cookies of a request.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The text that is in the cookies of this name: `name`, `name.1` and so on.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let one = |name: &str| all(headers).find(|(found, _)| *found == name).map(|(_, value)| value);
    let mut text = one(name)?.to_owned();
    for part in 1..PARTS {
        match one(&format!("{name}.{part}")) {
            Some(more) => text.push_str(more),
            None => break,
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Takes the cookies out of a request whose names begin with this.
pub(super) fn strip(headers: &mut HeaderMap, beginning: &str) {
    if !all(headers).any(|(name, _)| name.starts_with(beginning)) {
        return;
    }
    let others = all(headers).filter(|(name, _)| !name.starts_with(beginning));
    let others = others.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    headers.remove(COOKIE);
    if let Ok(others) = HeaderValue::try_from(others)
        && !others.is_empty()
    {
        headers.insert(COOKIE, others);
    }
}

/// The header fields by which a browser keeps a text for so many seconds; nothing if it is too long.
pub(super) fn keep(name: &str, text: &str, seconds: u64, tls: bool) -> Option<Vec<HeaderValue>> {
    let parts = text.len().div_ceil(PART);
    if parts > PARTS {
        return None;
    }
    let part = |at: usize| {
        let from = at * PART;
        let part = if at < parts { &text[from..text.len().min(from + PART)] } else { "" };
        one(name, at, part, if at < parts { seconds } else { 0 }, tls)
    };
    // Those of a longer text before would be read with it.
    (0..PARTS).map(part).collect()
}

/// Those by which it forgets it.
pub(super) fn forget(name: &str, tls: bool) -> Vec<HeaderValue> {
    (0..PARTS).filter_map(|at| one(name, at, "", 0, tls)).collect()
}

/// One that is a single cookie.
pub(super) fn single(name: &str, text: &str, seconds: u64, tls: bool) -> Option<HeaderValue> {
    one(name, 0, text, seconds, tls)
}

fn one(name: &str, at: usize, text: &str, seconds: u64, tls: bool) -> Option<HeaderValue> {
    let part = if at == 0 { String::new() } else { format!(".{at}") };
    let secure = if tls { "; Secure" } else { "" };
    // Lax: who comes back from the issuer, or by a link, is who they were.
    let cookie = format!("{name}{part}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|text| (COOKIE, text.parse().unwrap())).collect()
    }

    /// What a browser sends back of what it was told to keep.
    fn kept(fields: &[HeaderValue]) -> HeaderMap {
        let pairs =
            fields.iter().map(|field| field.to_str().unwrap()).filter(|text| !text.contains("Max-Age=0;"));
        let pairs: Vec<&str> = pairs.map(|text| text.split(';').next().unwrap()).collect();
        request(&[&pairs.join("; ")])
    }

    #[test]
    fn what_was_sealed_is_opened_as_it_was_and_for_what_it_was() {
        let seals = Seals::new(&[[1; 32]]);
        let text = seals.seal("a", &"secret").unwrap();
        assert_eq!(seals.open::<String>("a", &text).as_deref(), Some("secret"));
        assert_eq!(seals.open::<String>("b", &text), None, "it is for another purpose");
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(seals.open::<String>("a", &URL_SAFE_NO_PAD.encode(changed)), None, "{at}");
        }
        assert_eq!(seals.open::<String>("a", "AAAA"), None);
        assert_ne!(seals.seal("a", &"secret"), Some(text), "no two are alike");
        assert_eq!(Seals::default().seal("a", &"secret"), None);
    }

    #[test]
    fn a_key_opens_what_it_sealed_after_another_has_taken_its_place() {
        let (old, both, new) =
            (Seals::new(&[[1; 32]]), Seals::new(&[[2; 32], [1; 32]]), Seals::new(&[[2; 32]]));
        let text = old.seal("a", &1).unwrap();
        assert_eq!((both.open::<u8>("a", &text), new.open::<u8>("a", &text)), (Some(1), None));
        let text = both.seal("a", &1).unwrap();
        assert_eq!((old.open::<u8>("a", &text), new.open::<u8>("a", &text)), (None, Some(1)));
    }

    #[test]
    fn a_long_text_is_in_several_cookies_and_one_that_is_too_long_in_none() {
        for size in [1, PART, PART + 1, PART * PARTS] {
            let text = "x".repeat(size);
            let fields = keep("s", &text, 60, false).unwrap();
            assert_eq!(read(&kept(&fields), "s"), Some(text));
            assert!(fields.iter().all(|field| field.len() < 4096));
        }
        assert!(keep("s", &"x".repeat(PART * PARTS + 1), 60, false).is_none());
        assert_eq!(read(&kept(&forget("s", true)), "s"), None);
        let field = keep("__Host-s", "x", 60, true).unwrap()[0].clone();
        assert_eq!(field, "__Host-s=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn services_are_not_told_of_them() {
        let mut headers =
            request(&["a=1; madang-session=x; madang-session.1=y; b=madang-session", "madang-login-z=1"]);
        strip(&mut headers, OURS);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=madang-session"]);
        strip(&mut headers, OURS);
        assert_eq!(headers[COOKIE], "a=1; b=madang-session");
        let mut headers = request(&["madang-session=x"]);
        strip(&mut headers, OURS);
        assert!(headers.is_empty());
    }
}
