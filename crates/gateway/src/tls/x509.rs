//! What is read of a certificate (RFC 5280, section 4.1) besides what TLS itself reads: when it is good, and the name of
//! its subject.

use yasna::{ASN1Result, BERReader, Tag, models::ObjectIdentifier, tags::TAG_UTCTIME};

/// The attributes of names that are known (RFC 4519), by the last number below 2.5.4.
const ATTRIBUTES: [(u64, &str); 7] =
    [(3, "CN"), (5, "serialNumber"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];

/// A name that is an address, among alternative names (RFC 5280, section 4.2.1.6).
const ADDRESS: u64 = 7;

/// A certificate's fields.
struct Fields {
    validity: (u64, u64),
    subject: Vec<(&'static str, String)>,
    addresses: bool,
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
    read(certificate).is_some_and(|fields| fields.addresses)
}

fn read(certificate: &[u8]) -> Option<Fields> {
    let fields = yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|reader| {
            let fields = reader.next().read_sequence(|reader| {
                reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(0), |reader| reader.read_der())
                })?;
                for _ in ["serial number", "signature", "issuer"] {
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
                let addresses = reader
                    .read_optional(|reader| reader.read_tagged(Tag::context(3), extensions))?
                    .unwrap_or_default();
                Ok(Fields { validity, subject, addresses })
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

/// Whether there is an address among the alternative names.
fn extensions(reader: BERReader<'_, '_>) -> ASN1Result<bool> {
    let mut found = false;
    reader.read_sequence_of(|reader| {
        reader.read_sequence(|reader| {
            let kind = reader.next().read_oid()?;
            reader.read_optional(|reader| reader.read_bool())?;
            let value = reader.next().read_bytes()?;
            if *kind.components() == [2, 5, 29, 17] {
                found |= yasna::parse_der(&value, |reader| {
                    let mut addresses = false;
                    reader.read_sequence_of(|reader| {
                        addresses |= reader.lookahead_tag()? == Tag::context(ADDRESS);
                        reader.read_der().map(drop)
                    })?;
                    Ok(addresses)
                })?;
            }
            Ok(())
        })
    })?;
    Ok(found)
}
