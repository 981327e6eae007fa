//! Words of a command as a shell takes them.

/// A text as one word, in quotes in every case.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as one word, in quotes where it needs them.
pub(crate) fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+%".contains(&byte);
    // What begins with a dash would be taken for an option.
    match !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one() {
        let words = ["orders", "user=7", "", "two words", "it's", "$(reboot)", "a\"b"].map(word);
        assert_eq!(words, ["orders", "user=7", "''", "'two words'", r"'it'\''s'", "'$(reboot)'", "'a\"b'"]);
    }
}
