//! As much of Rust as the rules for the docs look at: which names a file defines.

/// What stands before the name of a definition.
const KEYWORDS: &[&str] =
    &["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "macro_rules!"];

/// Whether a file defines this name, at its top or within; a name that it only uses or tells of is none.
pub fn defines(file: &str, name: &str) -> bool {
    let mut code = file.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.windows(2).any(|pair| KEYWORDS.contains(&pair[0]) && starts_with(pair[1], name))
    })
}

/// Whether the name is all of the text up to what cannot be part of a name.
fn starts_with(text: &str, name: &str) -> bool {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end] == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_told_of_is_not_defined() {
        let file = "\
//! fn told() is gone
mod inner;
pub(crate) struct Ring<T> { slots: Vec<T> }
pub type Answer = Result<Ring<u8>>;
const LIMIT: usize = 3;
macro_rules! table { () => {} }
impl Ring<u8> {
    pub const fn empty() -> Self { Self::with(LIMIT) }
    // fn once() was here
    async fn full<T>(&self) -> bool { used(told) }
}";
        for name in ["inner", "Ring", "Answer", "LIMIT", "table", "empty", "full"] {
            assert!(defines(file, name), "{name}");
        }
        for name in ["told", "once", "used", "slots", "Rin", "Result", "ful"] {
            assert!(!defines(file, name), "{name}");
        }
    }
}
