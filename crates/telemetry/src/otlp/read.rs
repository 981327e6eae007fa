//! From the bytes of an export to its message.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use madang_wire::otlp::Message;
use serde::de::DeserializeOwned;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`, and all of gRPC.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not gzip that says so.
    #[error("failed to unpack it, which says that it is gzip: {0}")]
    Packed(#[source] io::Error),
    /// It is more than is read of one, once it is unpacked.
    #[error("it has more than {0} bytes unpacked: send less at once")]
    TooLarge(usize),
    /// It is not protobuf, or not what the message should be.
    #[error("failed to read it as protobuf of OTLP: {0}")]
    Protobuf(#[source] madang_wire::otlp::DecodeError),
    /// It is not JSON, or not what the message should be.
    #[error("failed to read it as JSON of OTLP: at {place}: {why}")]
    Json {
        /// Where, as `resourceSpans[0].scopeSpans[0]`.
        place: String,
        /// What is wrong there.
        why: serde_json::Error,
    },
}

/// Unpacks gzip, as far as so many bytes.
///
/// # Errors
/// If it is not gzip, or more.
pub fn gunzip(packed: &[u8], most: usize) -> Result<Vec<u8>, Unreadable> {
    let mut unpacked = Vec::with_capacity(packed.len().saturating_mul(4).min(most));
    let mut reader = MultiGzDecoder::new(packed).take(most as u64 + 1);
    reader.read_to_end(&mut unpacked).map_err(Unreadable::Packed)?;
    if unpacked.len() > most { Err(Unreadable::TooLarge(most)) } else { Ok(unpacked) }
}

pub(super) fn message<M: Message + Default + DeserializeOwned>(
    encoding: Encoding,
    body: &[u8],
) -> Result<M, Unreadable> {
    match encoding {
        Encoding::Protobuf => M::decode(body).map_err(Unreadable::Protobuf),
        Encoding::Json => {
            let mut reader = serde_json::Deserializer::from_slice(body);
            let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| Unreadable::Json {
                place: error.path().to_string(),
                why: error.into_inner(),
            })?;
            let ended = reader.end();
            ended.map(|()| read).map_err(|why| Unreadable::Json { place: "its end".to_owned(), why })
        }
    }
}
