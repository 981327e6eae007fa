//! W3C Trace Context, level 1: <https://www.w3.org/TR/trace-context-1/>.

use http::{HeaderMap, HeaderValue};

use crate::{
    names::{TRACEPARENT, TRACESTATE},
    random::id,
};

/// The longest `tracestate` taken over; a longer one is dropped, as the specification allows.
const LONGEST_STATE: usize = 512;

/// The length of a version 00 `traceparent`.
const LENGTH: usize = 55;

/// A position in a distributed trace (W3C Trace Context, level 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The id of the whole trace; never zero.
    pub trace_id: u128,
    /// The span that is current here; never zero.
    pub span_id: u64,
    /// The span that caused it, in the process before; absent at the root.
    pub parent_id: Option<u64>,
    /// The flags; bit 0 says sampled.
    pub flags: u8,
    /// What tracing vendors add, unchanged.
    pub state: Option<HeaderValue>,
}

impl TraceContext {
    /// The start of a new, sampled trace.
    pub fn root() -> Self {
        let trace_id = id::<u128>().max(1);
        Self { trace_id, span_id: new_span_id(), parent_id: None, flags: 1, state: None }
    }

    /// A new span below the one that the headers name; `None` if they name none that is valid.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let parent = given.next()?;
        if given.next().is_some() {
            return None;
        }
        let (trace_id, parent_id, flags) = parse(parent.as_bytes())?;
        let mut states = headers.get_all(TRACESTATE).iter();
        // Several `tracestate` fields are one list; joining them is left to who writes them.
        let state = states.next().filter(|state| state.len() <= LONGEST_STATE && states.next().is_none());
        let state = state.and_then(|state| HeaderValue::from_bytes(state.as_bytes()).ok());
        Some(Self { trace_id, span_id: new_span_id(), parent_id: Some(parent_id), flags, state })
    }

    /// A new span below this one.
    pub fn child(&self) -> Self {
        Self { span_id: new_span_id(), parent_id: Some(self.span_id), ..self.clone() }
    }
}

/// A random span id, never zero.
pub fn new_span_id() -> u64 {
    id::<u64>().max(1)
}

/// A version 00 `traceparent`.
pub(crate) fn traceparent(trace_id: u128, span_id: u64, flags: u8) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(trace_id, &mut text[3..35]);
    write_hex(span_id.into(), &mut text[36..52]);
    write_hex(flags.into(), &mut text[53..55]);
    ascii(&text)
}

/// Writes the number's last digits in lower-case hexadecimal: an even number of them, as many as there is
/// room for.
pub(crate) fn write_hex(number: u128, room: &mut [u8]) {
    let (_, pairs) = room.as_rchunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().rev().zip(number.to_le_bytes()) {
        *pair = PAIRS[usize::from(byte)];
    }
}

/// The two digits of every byte.
static PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// A header value of what is known to be visible ASCII.
pub(crate) fn ascii(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("visible ASCII is a header value")
}

/// The trace id, the span id and the flags of a `traceparent`, by section 3.2 and, for a later version, 3.2.4.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let fits = text.len() == LENGTH || (text.len() > LENGTH && text[LENGTH] == b'-');
    if !fits || [text[2], text[35], text[52]] != *b"---" {
        return None;
    }
    let version = read_hex(&text[..2])?;
    if version == 0xff || (version == 0 && text.len() != LENGTH) {
        return None;
    }
    let trace_id = read_hex(&text[3..35])?;
    let span_id = read_hex(&text[36..52])? as u64;
    let flags = read_hex(&text[53..55])? as u8;
    // Only bit 0 has a meaning in level 1; the others are not passed on.
    (trace_id != 0 && span_id != 0).then_some((trace_id, span_id, flags & 1))
}

fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn check(text: &str, flags: Option<u8>) {
        let parsed = parse(text.as_bytes());
        let expected = flags.map(|flags| {
            (u128::from_str_radix(TRACE, 16).unwrap(), u64::from_str_radix(SPAN, 16).unwrap(), flags)
        });
        assert_eq!(parsed, expected, "{text}");
    }

    #[test]
    fn takes_what_the_specification_takes() {
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(1));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(0));
        check(&format!("00-{TRACE}-{SPAN}-ff"), Some(1));
        check(&format!("01-{TRACE}-{SPAN}-01"), Some(1));
        check(&format!("cc-{TRACE}-{SPAN}-01-what-comes"), Some(1));
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        for bad in [
            String::new(),
            "00".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-{SPAN}-1"),
        ] {
            check(&bad, None);
        }
    }

    #[test]
    fn two_parents_are_none_and_the_state_is_passed_on() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, ascii(format!("00-{TRACE}-{SPAN}-01").as_bytes()));
        headers.append(TRACESTATE, ascii(b"vendor=1"));
        let trace = TraceContext::from_headers(&headers).unwrap();
        assert_eq!(trace.parent_id, u64::from_str_radix(SPAN, 16).ok());
        assert_ne!(Some(trace.span_id), trace.parent_id);
        assert_eq!(trace.state, Some(ascii(b"vendor=1")));
        let passed_on = traceparent(trace.trace_id, trace.span_id, trace.flags);
        assert!(passed_on.to_str().unwrap().starts_with(&format!("00-{TRACE}-")));
        assert!(parse(passed_on.as_bytes()).is_some());

        headers.append(TRACEPARENT, ascii(format!("00-{TRACE}-{SPAN}-01").as_bytes()));
        assert_eq!(TraceContext::from_headers(&headers), None);
    }
}
