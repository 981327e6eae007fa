//! Values of fields that are written anew for each answer.

use bytes::{BufMut, Bytes};
use http::HeaderValue;

/// A value of text that can only be one.
pub(crate) fn field(text: impl Into<Bytes>) -> HeaderValue {
    let field = HeaderValue::from_maybe_shared(text.into());
    let mut field = field.unwrap_or_else(|_| HeaderValue::from_static(""));
    // It never comes again: HTTP/2 must not keep it in a table (RFC 7541, section 7.1.3).
    field.set_sensitive(true);
    field
}

/// Writes a number, which the formatter of the language takes longer for than for all else of such a field.
pub(crate) fn digits(mut number: u64, into: &mut impl BufMut) {
    let mut text = [0; 20];
    let mut first = text.len();
    while number > 0 || first == text.len() {
        first -= 1;
        text[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    into.put_slice(&text[first..]);
}
