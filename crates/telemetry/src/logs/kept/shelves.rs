//! The index of what lines say: pieces of three characters (trigrams), so that any part of a word is found, as `grep`
//! does, and not only what some rule takes for a word.
//!
//! It stands in shelves, tables of FTS5 with so many lines each. A full one is never written again, one without lines is
//! dropped whole, and a search goes from the newest to the oldest and may stop. FTS5 keeps no copy of the text
//! (`content=''`) and no places within it (`detail=none`): it names candidates, of which whoever searches reads the line.
//!
//! After the words of a line come marks of its unit and its level, each a piece of characters that no text has
//! ([`Mark`]): without them whoever searches one unit would read what all others say alike. Shelves that were begun
//! before there were marks have none.

use std::collections::BTreeSet;

use madang_store::rusqlite::{Connection, OptionalExtension, Result, Row};

/// How many pieces are looked up: more do not find less, and each costs time.
const PIECES: usize = 5;

/// How many of them stand between two words, if some do: the same words stand in many lines, and in another order.
const BETWEEN: usize = 2;

/// How long a piece is, in characters.
const LENGTH: usize = 3;

/// A text that more pieces than this begin with is in so many lines that one of them is soon found by reading.
const BEGINNINGS: usize = 400;

/// By what the lines of a shelf are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// No line has it.
    None,
    /// By its pieces, as FTS5 reads them.
    Pieces(String),
    /// No pieces tell it from others.
    All,
}

/// A shelf, with the rows of the first and the last line that it has, and the times between which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelf {
    pub(crate) number: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) newest: i64,
    /// The earliest time of any; long ago where it is not known.
    pub(crate) oldest: i64,
    /// Whether its lines are marked.
    pub(crate) marked: bool,
}

/// What a line is marked with beside its words, by the numbers of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Unit(i64),
    Level(i64),
}

// === impl Mark ===

impl Mark {
    /// Three characters for private use. One in 2048 units shares its mark with another: candidates are read.
    pub(crate) fn piece(self) -> String {
        let (kind, number) = match self {
            Self::Unit(number) => ('\u{e000}', number),
            Self::Level(number) => ('\u{e001}', number),
        };
        let number = u32::try_from(number.rem_euclid(2048)).ok().and_then(|it| char::from_u32(0xe100 + it));
        [kind, number.unwrap_or(kind), kind].iter().collect()
    }
}

/// What finds lines with any of these marks, after what finds the words.
pub(crate) fn any_of(marks: impl IntoIterator<Item = Mark>) -> String {
    let any: Vec<String> = marks.into_iter().map(|mark| format!("\"{}\"", mark.piece())).collect();
    format!(" AND ({})", any.join(" OR "))
}

// === impl Shelf ===

impl Shelf {
    /// The one that the next line goes to, which is made if it must be.
    pub(crate) fn current(tx: &Connection, row: i64, size: i64) -> Result<Self> {
        let newest =
            "SELECT shelf, first, last, newest, oldest, marked FROM log_shelves ORDER BY shelf DESC LIMIT 1";
        let newest = tx.prepare_cached(newest)?.query_row([], Self::of).optional()?;
        if let Some(shelf) = newest
            && row - shelf.first < size
            && shelf.marked
        {
            return Ok(shelf);
        }
        let number = newest.map_or(1, |shelf| shelf.number + 1);
        let shelf = Self { number, first: row, last: row, newest: 0, oldest: i64::MAX, marked: true };
        tx.execute_batch(&format!(
            "CREATE VIRTUAL TABLE {} USING fts5(
                 words, content='', columnsize=0, detail=none, tokenize='trigram')",
            shelf.table()
        ))?;
        let sql = "INSERT INTO log_shelves (shelf, first, last, newest, oldest, marked)
                   VALUES (?1, ?2, ?2, 0, 9223372036854775807, 1)";
        tx.prepare_cached(sql)?.execute((shelf.number, row))?;
        Ok(shelf)
    }

    /// Adds what a line says, with its marks.
    pub(crate) fn add(&self, tx: &Connection, row: i64, mut words: String, marks: [Mark; 2]) -> Result<()> {
        marks.iter().for_each(|mark| words.push_str(&mark.piece()));
        let sql = format!("INSERT INTO {} (rowid, words) VALUES (?1, ?2)", self.table());
        tx.prepare_cached(&sql)?.execute((row, words)).map(drop)
    }

    /// Notes the last line that it has, and the earliest and the latest time of some of them.
    pub(crate) fn reaches(&self, tx: &Connection, row: i64, (oldest, newest): (i64, i64)) -> Result<()> {
        let sql = "UPDATE log_shelves SET last = ?2, oldest = min(oldest, ?3), newest = max(newest, ?4) WHERE shelf = ?1";
        tx.prepare_cached(sql)?.execute((self.number, row, oldest, newest)).map(drop)
    }

    /// All of them, the newest first.
    pub(crate) fn all(conn: &Connection) -> Result<Vec<Self>> {
        let sql = "SELECT shelf, first, last, newest, oldest, marked FROM log_shelves ORDER BY shelf DESC";
        conn.prepare_cached(sql)?.query_map([], Self::of)?.collect()
    }

    /// What leads to the lines with a text in this shelf.
    pub(crate) fn lookup(&self, conn: &Connection, text: &str) -> Result<Lookup> {
        match pieces(text) {
            Some(pieces) => Ok(Lookup::Pieces(pieces)),
            // Without marks the last characters of a line begin no piece.
            None if !self.marked => Ok(Lookup::All),
            None => self.beginning_with(conn, text),
        }
    }

    /// The pieces of this shelf that begin with a text that is shorter than a piece: every place in a line is the
    /// beginning of one, since marks come after the words.
    fn beginning_with(&self, conn: &Connection, text: &str) -> Result<Lookup> {
        let table = self.table();
        conn.execute_batch(&format!(
            "CREATE VIRTUAL TABLE temp.log_vocabulary USING fts5vocab(main, {table}, row)"
        ))?;
        // As the index does, which has no capital letters.
        let from = text.to_lowercase();
        let terms = conn
            .prepare("SELECT term FROM temp.log_vocabulary WHERE term >= ?1 AND term < ?1 || char(1114111) LIMIT ?2")
            .and_then(|mut terms| {
                let terms = terms.query_map((&from, BEGINNINGS as i64 + 1), |row| row.get(0))?;
                terms.collect::<Result<Vec<String>>>()
            });
        conn.execute_batch("DROP TABLE temp.log_vocabulary")?;
        let terms = terms?;
        Ok(match terms.len() {
            0 => Lookup::None,
            1..=BEGINNINGS => {
                let any: Vec<String> = terms.iter().map(|term| quoted(term)).collect();
                Lookup::Pieces(format!("({})", any.join(" OR ")))
            }
            _ => Lookup::All,
        })
    }

    /// Hands out the rows of the lines that may contain a text and have any of these marks, until `each` says that it is
    /// enough.
    pub(crate) fn candidates(
        &self,
        conn: &Connection,
        (lookup, marks): (&Lookup, &str),
        newest_first: bool,
        mut each: impl FnMut(i64) -> Result<bool>,
    ) -> Result<()> {
        let table = self.table();
        let order = if newest_first { "DESC" } else { "ASC" };
        let (sql, pieces) = match lookup {
            Lookup::None => return Ok(()),
            Lookup::Pieces(pieces) => (
                format!("SELECT rowid FROM {table} WHERE {table} MATCH ?1 ORDER BY rowid {order}"),
                Some(format!("{pieces}{marks}")),
            ),
            Lookup::All => (
                format!(
                    "SELECT row FROM log_lines WHERE ?1 IS NULL AND row BETWEEN {} AND {} ORDER BY row {order}",
                    self.first, self.last
                ),
                None,
            ),
        };
        let mut found = conn.prepare(&sql)?;
        let mut rows = found.query([pieces])?;
        while let Some(row) = rows.next()? {
            if !each(row.get(0)?)? {
                break;
            }
        }
        Ok(())
    }

    fn of(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            first: row.get(1)?,
            last: row.get(2)?,
            newest: row.get(3)?,
            oldest: row.get(4)?,
            marked: row.get(5)?,
        })
    }

    fn table(&self) -> String {
        format!("log_words_{}", self.number)
    }
}

/// Drops those whose lines are all deleted.
pub(crate) fn drop_empty(tx: &Connection) -> Result<()> {
    let oldest = "SELECT coalesce(min(row), 9223372036854775807) FROM log_lines";
    let oldest: i64 = tx.prepare_cached(oldest)?.query_row([], |row| row.get(0))?;
    let mut empty = tx.prepare_cached("SELECT shelf FROM log_shelves WHERE last < ?1")?;
    let empty: Vec<i64> = empty.query_map([oldest], |row| row.get(0))?.collect::<Result<_>>()?;
    for number in empty {
        tx.execute_batch(&format!("DROP TABLE log_words_{number}"))?;
        tx.prepare_cached("DELETE FROM log_shelves WHERE shelf = ?1")?.execute([number])?;
    }
    Ok(())
}

/// What to look a text up by: those of its pieces that are rarest, as far as that can be told from their letters. None
/// if it is too short to have any.
fn pieces(text: &str) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut pieces: Vec<&[char]> = characters.windows(LENGTH).collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.iter().map(|c| rarity(*c)).sum::<u32>()));
    let between = |piece: &&&[char]| matches!(piece, [before, ' ', after] if *before != ' ' && *after != ' ');
    let first = pieces.iter().filter(between).take(BETWEEN);
    let mut rarest: BTreeSet<String> = first.map(|piece| piece.iter().collect()).collect();
    for piece in pieces {
        if rarest.len() < PIECES {
            rarest.insert(piece.iter().collect());
        }
    }
    (!rarest.is_empty()).then(|| rarest.iter().map(|piece| quoted(piece)).collect::<Vec<_>>().join(" AND "))
}

/// A piece as FTS5 reads it.
fn quoted(piece: &str) -> String {
    format!("\"{}\"", piece.replace('"', "\"\""))
}

/// How rare a character is in logs, roughly: the logarithm of one in how many.
fn rarity(character: char) -> u32 {
    match character.to_ascii_lowercase() {
        ' ' | 'e' => 6,
        't' | 'a' | 'o' | 'i' | 'n' | 's' | 'r' => 8,
        'd' | 'l' | 'c' | 'u' | '=' | '_' => 10,
        'h' | 'm' | 'p' | 'g' | 'f' | '.' | ':' | '/' => 11,
        '0'..='9' | '-' | 'b' | 'y' | 'w' | 'v' => 12,
        'k' | '"' | ',' | '(' | ')' => 13,
        'j' | 'x' | 'q' | 'z' => 16,
        _ => 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_up_by_its_rarest_pieces() {
        assert_eq!(pieces("ab"), None);
        assert_eq!(pieces("abc").as_deref(), Some("\"abc\""));
        assert_eq!(pieces("a\"b").as_deref(), Some("\"a\"\"b\""));
        assert_eq!(pieces("주문이").as_deref(), Some("\"주문이\""));
        let long = pieces("the request of user-42 timed out").unwrap();
        assert!(long.contains("\"-42\""), "{long}");
        assert_eq!(long.matches(" AND ").count(), PIECES - 1);
        let order = pieces("completed request").unwrap();
        assert!(order.contains("\"d r\""), "what tells it from the same words in another order: {order}");
    }
}
