//! What is told of a database statement: its text without values, and a name of few words.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::span::LONGEST;

/// How many statements are known at most: a program has so many, unless it writes values into them.
const MOST: usize = 512;

/// The statements that were made, so that each is looked at once.
#[derive(Default)]
pub(crate) struct Statements(Mutex<HashMap<Box<str>, Statement>>);

/// A statement as it is told.
#[derive(Clone)]
pub(crate) struct Statement {
    /// Without values.
    pub(crate) text: Arc<str>,
    /// What it does and the first table that it names.
    pub(crate) name: Arc<str>,
}

impl Statements {
    /// What is told of this one.
    pub(crate) fn of(&self, sql: &str) -> Statement {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known.get(sql) {
            return statement.clone();
        }
        let text = without_values(sql);
        let statement = Statement { name: name(&text).into(), text: text.into() };
        if known.len() < MOST && sql.len() <= LONGEST {
            known.insert(sql.into(), statement.clone());
        }
        statement
    }
}

/// The statement without the values that are written into it, without comments, and on one line.
fn without_values(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len().min(LONGEST));
    let mut rest = sql;
    while let Some(first) = rest.chars().next()
        && text.len() < LONGEST
    {
        let (length, written) = next(rest, text.chars().next_back());
        match written {
            Written::As => text.push_str(&rest[..length.max(first.len_utf8())]),
            Written::Value => text.push('?'),
            Written::Space if text.is_empty() || text.ends_with(' ') => {}
            Written::Space => text.push(' '),
        }
        rest = &rest[length.max(first.len_utf8())..];
    }
    text.truncate(text.trim_end().len());
    text
}

/// How a part of a statement is told.
enum Written {
    As,
    Value,
    Space,
}

/// The length of what comes next, after this character, and how it is told.
fn next(rest: &str, before: Option<char>) -> (usize, Written) {
    let until =
        |start: usize, end: &str| rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len());
    let in_word = before.is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '$' | '?' | ':' | '@'));
    match rest.as_bytes() {
        [b'-', b'-', ..] => (until(2, "\n"), Written::Space),
        [b'/', b'*', ..] => (until(2, "*/"), Written::Space),
        // Two quotes inside are one that does not end it: what follows is then another value at once.
        [b'\'', ..] => (until(1, "'"), Written::Value),
        [b'"', ..] => (until(1, "\""), Written::As),
        [b'`', ..] => (until(1, "`"), Written::As),
        [b'$', after, ..] if !after.is_ascii_digit() && !in_word => match rest[1..].find('$') {
            // PostgreSQL's text between dollars, which may have a name.
            Some(end) => (until(end + 2, &rest[..end + 2]), Written::Value),
            None => (1, Written::As),
        },
        [digit, ..] if digit.is_ascii_digit() && !in_word => {
            let part = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_');
            (rest.find(|it| !part(it)).unwrap_or(rest.len()), Written::Value)
        }
        [space, ..] if space.is_ascii_whitespace() => (1, Written::Space),
        _ => (1, Written::As),
    }
}

/// What it does and the first table that it names: `SELECT orders`.
fn name(statement: &str) -> String {
    let mut words = statement.split([' ', '(', ',', ';']).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return "statement".to_owned() };
    let operation = first.to_ascii_uppercase();
    let is = |word: &str, one: &str| word.eq_ignore_ascii_case(one);
    let table = match &*operation {
        "UPDATE" => words.next(),
        "SELECT" | "DELETE" | "INSERT" | "WITH" | "REPLACE" => {
            words.by_ref().find(|word| is(word, "FROM") || is(word, "INTO"));
            words.next()
        }
        "CREATE" | "ALTER" | "DROP" => {
            words.by_ref().find(|word| is(word, "TABLE") || is(word, "INDEX"));
            words.next()
        }
        _ => None,
    };
    match table.map(|table| table.trim_matches(['"', '`'])) {
        Some(table) if !table.is_empty() => format!("{operation} {table}"),
        _ => operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, text: &str, named: &str) {
        let statement = without_values(sql);
        assert_eq!((&*statement, &*name(&statement)), (text, named), "{sql}");
    }

    #[test]
    fn values_and_comments_are_not_told() {
        check(
            "SELECT id,\n  name FROM users -- all\n WHERE id = $1 AND age > 17.5e3",
            "SELECT id, name FROM users WHERE id = $1 AND age > ?",
            "SELECT users",
        );
        check(
            "INSERT INTO \"orders\" (a1, b) VALUES ('it''s', X'00'), (?1, :b2)",
            "INSERT INTO \"orders\" (a1, b) VALUES (??, X?), (?1, :b2)",
            "INSERT orders",
        );
        check(
            "update t2 set a = -1 /* a 'b' */ where c = ?",
            "update t2 set a = -? where c = ?",
            "UPDATE t2",
        );
        check("SELECT $$secret$$, $a$it $$ too$a$, b$1", "SELECT ?, ?, b$1", "SELECT");
        check("BEGIN IMMEDIATE", "BEGIN IMMEDIATE", "BEGIN");
        check("SELECT 'é", "SELECT ?", "SELECT");
        check("SELECT é FROM \"ü", "SELECT é FROM \"ü", "SELECT ü");
        check("  ", "", "statement");
    }

    #[test]
    fn a_statement_is_looked_at_once_and_so_many_are_known() {
        let statements = Statements::default();
        let of = |number: usize| statements.of(&format!("SELECT a{number} FROM t WHERE b = {number}"));
        let first = of(0);
        assert_eq!((&*first.text, &*first.name), ("SELECT a0 FROM t WHERE b = ?", "SELECT t"));
        assert!(Arc::ptr_eq(&first.text, &of(0).text));
        (0..2 * MOST).for_each(|number| drop(of(number)));
        assert_eq!(statements.0.lock().unwrap().len(), MOST);
        assert_eq!(&*of(2 * MOST).text, "SELECT a1024 FROM t WHERE b = ?");
    }

    #[test]
    fn a_long_statement_is_cut() {
        let long = format!("SELECT 1 FROM t WHERE {}", "a = 'b' AND ".repeat(1000));
        let text = without_values(&long);
        assert!(text.len() <= LONGEST + 1 && text.starts_with("SELECT ? FROM t"), "{}", text.len());
    }
}
