//! Frames of HTTP/2 from bytes, most of which are frames as they should be (RFC 9113, section 4.1).
//!
//! A frame is four bytes (kind, flags, stream, length) and as many as the last says. After the kind `h` they are the text
//! of a head, `name=value` in lines, which becomes a HEADERS frame; after any other they are the payload as it is.

/// Sent before the frames: the preface, and settings that change nothing.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;

/// A connection of these frames.
pub(super) fn of(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = GREETING.to_vec();
    while let [kind, flags, stream, length, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        match kind {
            b'h' => put(&mut bytes, HEADERS, *flags, *stream, &block(payload)),
            kind => put(&mut bytes, *kind, *flags, *stream, payload),
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a payload is short").to_be_bytes();
    bytes.extend(&length[1..]);
    bytes.extend([kind, flags, 0, 0, 0, stream]);
    bytes.extend(payload);
}

/// Fields without a table and without Huffman's code (RFC 7541, section 6.2.2). None is longer than 126 bytes, so that its
/// length is one.
fn block(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        // The name of a pseudo-field begins with a colon, and none has an `=`.
        let at = line.iter().position(|byte| *byte == b'=').unwrap_or(line.len());
        let (name, value) = (&line[..at], line.get(at + 1..).unwrap_or_default());
        bytes.push(0);
        for part in [name, value] {
            let part = &part[..part.len().min(126)];
            bytes.push(part.len() as u8);
            bytes.extend(part);
        }
    }
    bytes
}
