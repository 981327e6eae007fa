//! The one form of a path, held against readers that know nothing of it.

use http::Uri;

use crate::path::normalise;

/// Whatever is taken has one form, which every reader takes for the same place below the root; the rest is refused.
///
/// # Panics
/// If that does not hold.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    holds(text);
    // As it comes in: hyper takes what an `Uri` takes.
    if let Ok(uri) = Uri::try_from(bytes) {
        holds(uri.path());
    }
}

fn holds(given: &str) {
    let Ok(once) = normalise(given) else { return };
    let once = &*once;
    let twice = normalise(once).expect("what was taken once is taken again");
    assert_eq!(once, twice, "the form is final");
    assert!(Uri::try_from(once).is_ok_and(|uri| uri.path() == once), "{once} is a target as it is");
    assert!(once.is_ascii() && once.starts_with('/'), "{once}");
    // Who decodes and then cuts, and who cuts and then decodes, see the same segments.
    let cut: Vec<Vec<u8>> = once.split('/').map(|segment| decoded(segment.as_bytes())).collect();
    let whole = decoded(once.as_bytes());
    let other: Vec<&[u8]> = whole.split(|byte| *byte == b'/').collect();
    assert_eq!(cut, other, "{once}");
    for segment in &cut {
        let control = segment.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\');
        assert!(!control, "{once}");
        // What comes before parameters counts for those who cut them off.
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "{once} leads elsewhere");
    }
    // And it is the place that was asked for.
    assert_eq!(cut, resolved(given), "{given} is {once}");
}

/// Escapes undone, once, by whoever takes any two digits.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = digits.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        rest = if byte.is_some() { &after[2..] } else { after };
        out.push(byte.unwrap_or(*first));
    }
    out
}

/// The segments that a path stands for, for whoever decodes first and then goes step by step.
fn resolved(given: &str) -> Vec<Vec<u8>> {
    let whole = decoded(given.as_bytes());
    let mut steps: Vec<Vec<u8>> = Vec::new();
    let mut segments = whole[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." => {}
            b".." => drop(steps.pop()),
            segment => {
                steps.push(segment.to_vec());
                continue;
            }
        }
        if segments.peek().is_none() {
            steps.push(Vec::new());
        }
    }
    steps.insert(0, Vec::new());
    steps
}
