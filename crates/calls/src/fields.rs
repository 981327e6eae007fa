//! A copy of a request's fields, made for nearly every call and used by few: cheap to make and to drop.
//!
//! One run of bytes: to clone the values would count a reference to each up and down again.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The bytes for which there is room for each field; more is made where that is too little.
const USUAL: usize = 64;

/// A copy of a request's fields.
pub(crate) struct Copied {
    /// For each field the lengths of its name and of its value in 4 bytes each, the name, and the value.
    bytes: Vec<u8>,
    /// Those that HTTP/2 must not keep in a table, by their place; almost always none.
    sensitive: Vec<usize>,
    count: usize,
}

impl Copied {
    /// A copy of these.
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        let mut bytes = Vec::with_capacity(USUAL * fields.len());
        let mut sensitive = Vec::new();
        for (place, (name, value)) in fields.iter().enumerate() {
            let (name, is_sensitive, value) =
                (name.as_str().as_bytes(), value.is_sensitive(), value.as_bytes());
            // A head is far shorter than 4 GiB.
            let [a, b, c, d] = (name.len() as u32).to_le_bytes();
            let [e, f, g, h] = (value.len() as u32).to_le_bytes();
            bytes.extend_from_slice(&[a, b, c, d, e, f, g, h]);
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
            if is_sensitive {
                sensitive.push(place);
            }
        }
        Self { bytes, sensitive, count: fields.len() }
    }

    /// The fields, in their order.
    pub(crate) fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(self.count);
        let mut rest = &*self.bytes;
        for place in 0..self.count {
            let (name, value);
            (name, value, rest) = first(rest).expect("a copy is as it was written");
            let name = HeaderName::from_bytes(name).expect("it was a name");
            let mut value = HeaderValue::from_bytes(value).expect("it was a value");
            value.set_sensitive(self.sensitive.contains(&place));
            fields.append(name, value);
        }
        fields
    }
}

/// The first field of a copy and what follows it.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_length, rest) = bytes.split_first_chunk::<4>()?;
    let (value_length, rest) = rest.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_length) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_gives_what_it_was_made_of() {
        let mut fields = HeaderMap::new();
        assert_eq!(Copied::of(&fields).fields(), fields);
        fields.insert("host", HeaderValue::from_static("shop"));
        fields.append("x-own", HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").unwrap());
        fields.append("x-own", HeaderValue::from_static(""));
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        fields.insert("authorization", secret);
        let copy = Copied::of(&fields).fields();
        assert_eq!(copy, fields);
        let sensitive =
            |fields: &HeaderMap| fields.values().map(HeaderValue::is_sensitive).collect::<Vec<_>>();
        assert_eq!(sensitive(&copy), sensitive(&fields));
        assert_eq!(sensitive(&copy), [false, false, false, true]);
    }
}
