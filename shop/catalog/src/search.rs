//! What somebody typed into the search field, as conditions on a product's names.

use sqlx::{QueryBuilder, Sqlite};

/// The words that a product's names must contain, all of them, each as a part of a word or more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// Of three characters or more: the trigram index finds them.
    indexed: Vec<String>,
    /// Shorter ones, as most Korean words are: every name is read.
    short: Vec<String>,
}

impl Search {
    /// The longest query, in characters.
    pub const MAX: usize = 100;
    /// The most words of a query.
    pub const MAX_WORDS: usize = 10;

    /// Reads a query; one without words finds everything.
    pub fn parse(typed: &str) -> Result<Self, &'static str> {
        if typed.chars().count() > Self::MAX {
            return Err("must have at most 100 characters");
        }
        let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        if words.len() > Self::MAX_WORDS {
            return Err("must have at most 10 words");
        }
        if words.iter().flat_map(|word| word.chars()).any(char::is_control) {
            return Err("must not have control characters");
        }
        let (indexed, short) = words.into_iter().partition(|word| word.chars().count() >= 3);
        Ok(Self { indexed, short })
    }

    /// Adds the conditions, each with ` AND ` before it.
    pub(crate) fn push(&self, sql: &mut QueryBuilder<Sqlite>) {
        if !self.indexed.is_empty() {
            sql.push(" AND id IN (SELECT rowid FROM products_fts WHERE products_fts MATCH ");
            sql.push_bind(self.phrases()).push(")");
        }
        for word in &self.short {
            let pattern = like(word);
            sql.push(" AND (name_en LIKE ").push_bind(pattern.clone()).push(r" ESCAPE '\'");
            sql.push(" OR name_ko LIKE ").push_bind(pattern).push(r" ESCAPE '\')");
        }
    }

    /// In the language of FTS5: each word a string, so that nothing in it is an operator.
    fn phrases(&self) -> String {
        let quoted: Vec<String> =
            self.indexed.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
        quoted.join(" AND ")
    }
}

/// A pattern for a part of a name, in which nothing that was typed is a wildcard.
fn like(word: &str) -> String {
    let mut pattern = String::from("%");
    for c in word.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_use_the_index_and_nothing_typed_is_an_operator() {
        let search = Search::parse(r#"린넨가방 책 NOT* "x" 50%"#).unwrap();
        assert_eq!(search.phrases(), r#""린넨가방" AND "NOT*" AND """x""" AND "50%""#);
        assert_eq!(search.short, ["책"]);
        assert_eq!(like("5%"), r"%5\%%");
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(Search::parse("  "), Ok(Search::default()));
        assert!(Search::parse(&"책".repeat(100)).is_ok());
        assert!(Search::parse(&"책".repeat(101)).is_err());
        assert!(Search::parse(&"a ".repeat(11)).is_err());
        assert!(Search::parse("a\0b").is_err());
    }
}
