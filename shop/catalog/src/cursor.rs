//! Where a page ended, in a form that clients hand back and do not read.

use std::fmt;

/// Where a page ended: after the product with this id. Products added later have higher ids, so that a reader
/// who follows cursors meets every product that was there from the start once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The id of the last product of the page; 0 before the first.
    pub after: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:02x}", self.after, check(self.after))
    }
}

impl Cursor {
    /// Reads a cursor, unless it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 18 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let after = i64::from_str_radix(&text[..16], 16).ok()?;
        let sum = u8::from_str_radix(&text[16..], 16).ok()?;
        (check(after) == sum).then_some(Self { after })
    }
}

/// Tells a cursor from a number that somebody typed.
fn check(after: i64) -> u8 {
    after.to_be_bytes().iter().fold(0xa5_u8, |sum, byte| sum.rotate_left(3) ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for after in [0, 1, 20, 9_999, i64::MAX] {
            assert_eq!(Cursor::parse(&Cursor { after }.to_string()), Some(Cursor { after }));
        }
        let good = Cursor { after: 20 }.to_string();
        for bad in ["", "20", &good[1..], &format!("{good}0"), &good.replace("14", "15"), "책책책책책책"]
        {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
