//! By which a trace is found from its own id, or from that of a request from outside.
//!
//! Ids are random: an index in their order would have each new one in a page of its own, and most of what it costs to
//! keep a span would be such pages. So a write appends those that came with it, sorted, to a *tail*; and when that has
//! grown long, it becomes a *run*, sorted and parted by the first byte of what an id is hashed to. Whoever looks for an
//! id looks into the tail and into one part of each run. (The log-structured merge tree, O'Neil et al. 1996, with one
//! level.)

use madang_store::rusqlite::{Connection, Result};

/// How many entries a tail has before it becomes a run: few enough to be looked through, and to be written at once.
const RUN: usize = 64 * 1024;

/// How many parts a run has.
const PARTS: i64 = 256;

/// The first bytes of an id's hash, and the number of the trace: both of six bytes, the greatest first.
pub(super) type Entry = [u8; 12];

/// The entry of a trace under an id.
pub(super) fn entry(id: &[u8], number: i64) -> Entry {
    let mut entry = [0; 12];
    entry[..6].copy_from_slice(&hash(id));
    entry[6..].copy_from_slice(&number.to_be_bytes()[2..]);
    entry
}

/// It is stored: FNV-1a (Fowler, Noll, Vo) of 64 bits, with the finaliser of SplitMix64 to spread it over all bits.
fn hash(id: &[u8]) -> [u8; 6] {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut mixed = id.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [first @ .., _, _] = (mixed ^ (mixed >> 31)).to_be_bytes();
    first
}

/// Adds entries to the tail, and makes a run of it if it is long.
pub(super) fn append(tx: &Connection, mut entries: Vec<Entry>, tail: &mut usize) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort_unstable();
    tx.prepare_cached("INSERT INTO trace_tail (entries) VALUES (?1)")?.execute([entries.as_flattened()])?;
    *tail += entries.len();
    if *tail >= RUN {
        merge(tx)?;
        *tail = 0;
    }
    Ok(())
}

/// How many entries the tail has.
pub(super) fn tail(conn: &Connection) -> Result<usize> {
    let bytes = "SELECT coalesce(sum(length(entries)), 0) FROM trace_tail";
    let bytes: i64 = conn.query_one(bytes, [], |row| row.get(0))?;
    Ok(bytes as usize / size_of::<Entry>())
}

/// Makes a run of the tail, in the room that it had.
fn merge(tx: &Connection) -> Result<()> {
    let mut entries = taken(tx)?;
    entries.sort_unstable();
    entries.dedup();
    let numbers = || entries.iter().map(number);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return Ok(()) };
    let run = "INSERT INTO trace_runs (first, last) VALUES (?1, ?2) RETURNING run";
    let run: i64 = tx.prepare_cached(run)?.query_one([first, last], |row| row.get(0))?;
    let mut part = tx.prepare_cached("INSERT INTO trace_ids (place, entries) VALUES (?1, ?2)")?;
    for entries in entries.chunk_by(|one, other| one[0] == other[0]) {
        part.execute((run * PARTS + i64::from(entries[0][0]), entries.as_flattened()))?;
    }
    Ok(())
}

/// What was in the tail.
fn taken(tx: &Connection) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(RUN);
    let mut tail = tx.prepare_cached("SELECT entries FROM trace_tail")?;
    let mut rows = tail.query([])?;
    while let Some(row) = rows.next()? {
        entries.extend_from_slice(row.get_ref(0)?.as_blob()?.as_chunks().0);
    }
    drop(rows);
    tx.prepare_cached("DELETE FROM trace_tail")?.execute([])?;
    Ok(entries)
}

/// The traces that have this id, or another one that looks the same: whoever asks has to compare. The latest first.
pub(super) fn find(conn: &Connection, id: &[u8]) -> Result<Vec<i64>> {
    let hash = hash(id);
    let mut found = conn.prepare_cached(
        "SELECT entries FROM trace_tail
         UNION ALL SELECT entries FROM trace_runs JOIN trace_ids ON place = run * ?1 + ?2",
    )?;
    let mut rows = found.query((PARTS, hash[0]))?;
    let mut numbers = Vec::new();
    while let Some(row) = rows.next()? {
        let entries: &[Entry] = row.get_ref(0)?.as_blob()?.as_chunks().0;
        let from = entries.partition_point(|entry| entry[..6] < hash[..]);
        numbers.extend(entries[from..].iter().take_while(|entry| entry[..6] == hash).map(number));
    }
    numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
    numbers.dedup();
    Ok(numbers)
}

/// Deletes the runs of which no trace is left.
pub(super) fn forget(tx: &Connection) -> Result<()> {
    let gone = "SELECT run FROM trace_runs
        WHERE NOT EXISTS (SELECT 1 FROM traces WHERE number BETWEEN first AND last)";
    let gone: Vec<i64> = tx.prepare_cached(gone)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    for run in gone {
        let parts = "DELETE FROM trace_ids WHERE place BETWEEN ?1 AND ?2";
        tx.prepare_cached(parts)?.execute([run * PARTS, run * PARTS + PARTS - 1])?;
        tx.prepare_cached("DELETE FROM trace_runs WHERE run = ?1")?.execute([run])?;
    }
    Ok(())
}

fn number(entry: &Entry) -> i64 {
    entry[6..].iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::schema::MIGRATIONS;

    fn tables() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|step| conn.execute_batch(step).unwrap());
        conn
    }

    fn id(number: i64) -> Vec<u8> {
        format!("request {number}").into_bytes()
    }

    fn rows(conn: &Connection, table: &str) -> i64 {
        conn.query_one(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_id_is_found_in_the_tail_and_in_every_run() {
        let (conn, mut length) = (tables(), 0);
        let last = RUN as i64 * 5 / 2;
        for batch in 0..=last / 1000 {
            let entries =
                (batch * 1000..last.min((batch + 1) * 1000)).map(|number| entry(&id(number), number));
            append(&conn, entries.collect(), &mut length).unwrap();
        }
        assert_eq!(rows(&conn, "trace_runs"), 2);
        assert!(length > 0 && length == tail(&conn).unwrap(), "{length}");
        for number in (0..last).step_by(997).chain([last - 1]) {
            assert_eq!(find(&conn, &id(number)).unwrap(), [number]);
        }
        assert_eq!(find(&conn, &id(last)).unwrap(), [0; 0]);

        // Traces of the second run only.
        let traces = "INSERT INTO traces VALUES (?1, x'', x'', 0, 0, 0, 0, '')";
        conn.execute(traces, [RUN as i64 * 3 / 2]).unwrap();
        forget(&conn).unwrap();
        assert_eq!(rows(&conn, "trace_runs"), 1);
        assert!(rows(&conn, "trace_ids") <= PARTS);
        assert_eq!(find(&conn, &id(1)).unwrap(), [0; 0]);
        assert_eq!(find(&conn, &id(RUN as i64 * 3 / 2)).unwrap(), [RUN as i64 * 3 / 2]);
    }

    #[test]
    fn an_id_that_is_used_again_and_again_finds_all_the_latest_first() {
        let (conn, mut length) = (tables(), 0);
        for number in 0..3 {
            let same = (0..RUN as i64 / 2).map(|n| entry(b"same", number * RUN as i64 + n));
            append(&conn, same.collect(), &mut length).unwrap();
        }
        let found = find(&conn, b"same").unwrap();
        assert_eq!((found.len(), found[0]), (RUN * 3 / 2, RUN as i64 * 5 / 2 - 1));
        assert!(found.is_sorted_by(|one, other| one > other));
    }

    /// It is in files.
    #[test]
    fn an_entry_stays_as_it_is() {
        assert_eq!(entry(b"0af7651916cd43dd", 0x0102_0304_0506)[6..], [1, 2, 3, 4, 5, 6]);
        assert_eq!(hash(b"0af7651916cd43dd"), [193, 248, 43, 185, 214, 181]);
    }
}
