//! What is read of a certificate (RFC 5280, section 4.1) besides what TLS itself reads: when it is good, the name of
//! its subject, and which one of its authority's it is.

use yasna::{ASN1Result, BERReader, Tag, models::ObjectIdentifier, tags::TAG_UTCTIME};

/// The attributes of names that are known (RFC 4519), by the last number below 2.5.4.
const ATTRIBUTES: [(u64, &str); 7] =
    [(3, "CN"), (5, "serialNumber"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];

/// A name that is an address, among alternative names (RFC 5280, section 4.2.1.6).
const ADDRESS: u64 = 7;

/// The alternative names, among extensions (RFC 5280, section 4.2.1.6).
const ALTERNATIVE_NAMES: [u64; 4] = [2, 5, 29, 17];

/// Which key of its authority has signed (RFC 5280, section 4.2.1.1).
const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];

/// A certificate's fields.
struct Fields {
    serial: Vec<u8>,
    validity: (u64, u64),
    subject: Vec<(&'static str, String)>,
    extensions: Extensions,
}

/// What is read of its extensions.
#[derive(Default)]
struct Extensions {
    addresses: bool,
    authority_key: Option<Vec<u8>>,
}

/// From when until when a certificate is good, in seconds since 1970.
pub(super) fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    Some(read(certificate)?.validity)
}

/// The known attributes of its subject's name, in their order.
pub(super) fn subject(certificate: &[u8]) -> Option<Vec<(&'static str, String)>> {
    Some(read(certificate)?.subject)
}

/// Whether it is for an address.
pub(super) fn has_address(certificate: &[u8]) -> bool {
    read(certificate).is_some_and(|fields| fields.extensions.addresses)
}

/// The key of the authority that has signed it, as it is named there, and its number among those that this key has signed:
/// the bytes of an integer, in the form of DER. Nothing if the key is not named.
pub(super) fn number(certificate: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let fields = read(certificate)?;
    Some((fields.extensions.authority_key?, fields.serial))
}

fn read(certificate: &[u8]) -> Option<Fields> {
    let fields = yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|reader| {
            let fields = reader.next().read_sequence(|reader| {
                reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(0), |reader| reader.read_der())
                })?;
                let serial = reader.next().read_tagged_der()?.value().to_vec();
                for _ in ["signature", "issuer"] {
                    reader.next().read_der()?;
                }
                let validity = reader.next().read_sequence(|reader| {
                    let begins = moment(reader.next())?;
                    Ok((begins, moment(reader.next())?))
                })?;
                let subject = name(reader.next())?;
                reader.next().read_der()?; // its key
                for unique_id in [1, 2] {
                    let tag = Tag::context(unique_id);
                    reader.read_optional(|reader| {
                        reader.read_tagged_implicit(tag, |reader| reader.read_bitvec_bytes())
                    })?;
                }
                let extensions = reader
                    .read_optional(|reader| reader.read_tagged(Tag::context(3), extensions))?
                    .unwrap_or_default();
                Ok(Fields { serial, validity, subject, extensions })
            })?;
            reader.next().read_der()?;
            reader.next().read_der()?;
            Ok(fields)
        })
    });
    fields.ok()
}

fn moment(reader: BERReader<'_, '_>) -> ASN1Result<u64> {
    let seconds = match reader.lookahead_tag()? {
        TAG_UTCTIME => reader.read_utctime()?.datetime().unix_timestamp(),
        _ => reader.read_generalized_time()?.datetime().unix_timestamp(),
    };
    Ok(u64::try_from(seconds).unwrap_or(0))
}

/// Attributes that are not known, or not text, are left out.
fn name(reader: BERReader<'_, '_>) -> ASN1Result<Vec<(&'static str, String)>> {
    let mut attributes = Vec::new();
    reader.read_sequence_of(|reader| {
        reader.read_set_of(|reader| {
            reader.read_sequence(|reader| {
                let kind = reader.next().read_oid()?;
                let value = reader.next().read_tagged_der()?;
                let text = std::str::from_utf8(value.value())
                    .ok()
                    .filter(|text| !text.chars().any(char::is_control));
                if let (Some(kind), Some(text)) = (attribute(&kind), text) {
                    attributes.push((kind, text.to_owned()));
                }
                Ok(())
            })
        })
    })?;
    Ok(attributes)
}

fn attribute(kind: &ObjectIdentifier) -> Option<&'static str> {
    let [2, 5, 4, last] = kind.components()[..] else { return None };
    ATTRIBUTES.iter().find(|(number, _)| *number == last).map(|(_, name)| *name)
}

fn extensions(reader: BERReader<'_, '_>) -> ASN1Result<Extensions> {
    let mut found = Extensions::default();
    reader.read_sequence_of(|reader| {
        reader.read_sequence(|reader| {
            let kind = reader.next().read_oid()?;
            reader.read_optional(|reader| reader.read_bool())?;
            let value = reader.next().read_bytes()?;
            if *kind.components() == ALTERNATIVE_NAMES {
                found.addresses |= yasna::parse_der(&value, has_an_address)?;
            } else if *kind.components() == AUTHORITY_KEY {
                found.authority_key = yasna::parse_der(&value, key_id)?;
            }
            Ok(())
        })
    })?;
    Ok(found)
}

fn has_an_address(reader: BERReader<'_, '_>) -> ASN1Result<bool> {
    let mut addresses = false;
    reader.read_sequence_of(|reader| {
        addresses |= reader.lookahead_tag()? == Tag::context(ADDRESS);
        reader.read_der().map(drop)
    })?;
    Ok(addresses)
}

/// The name of a key, and not whose it is and which of theirs, which may stand there too.
fn key_id(reader: BERReader<'_, '_>) -> ASN1Result<Option<Vec<u8>>> {
    let mut id = None;
    reader.read_sequence_of(|reader| {
        let part = reader.read_tagged_der()?;
        if part.tag() == Tag::context(0) {
            id = Some(part.value().to_vec());
        }
        Ok(())
    })?;
    Ok(id)
}
