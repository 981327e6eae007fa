//! Protobuf, written field by field: a message that is told once need not be built first.
//!
//! The encoding is that of <https://protobuf.dev/programming-guides/encoding/>. Numbers that are zero are left out, as
//! the encoding of proto3 has it; texts and messages are written whatever they hold.

/// Appends fields to bytes.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const BYTES: u32 = 2;
const FIXED_32: u32 = 5;

// === impl Writer ===

impl Writer {
    /// A number that takes as many bytes as it needs; a negative one, as its two's complement, takes ten.
    pub(super) fn varint(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.always(field, number);
        }
    }

    /// The same, written also if it is zero: where it is one of several that there might be.
    pub(super) fn always(&mut self, field: u32, number: u64) {
        self.key(field, VARINT);
        self.number(number);
    }

    pub(super) fn fixed_64(&mut self, field: u32, number: u64) {
        self.key(field, FIXED_64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn fixed_32(&mut self, field: u32, number: u32) {
        self.key(field, FIXED_32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// A text, or a message that is written already.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, BYTES);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A message, of the fields that `fill` writes.
    pub(super) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        self.key(field, BYTES);
        // Room for the length of a short message, which most are.
        let start = self.0.len();
        self.0.push(0);
        fill(self);
        let length = self.0.len() - start - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.0[start] = short,
            _ => {
                let mut long = Self::default();
                long.number(length as u64);
                self.0.splice(start..=start, long.0);
            }
        }
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.number(u64::from(field << 3 | kind));
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}
