//! Versions that only grow, over restarts too, at the price of one write per life of a node.

use madang_store::Store;

use crate::Error;

const SCHEMA: &[&str] = &["
    CREATE TABLE discovery_versions (next INTEGER NOT NULL) STRICT;
    INSERT INTO discovery_versions (next) VALUES (1);
"];

/// How many versions one life of a node may use: ten changes a second for three thousand years.
const BLOCK: u64 = 1 << 40;

/// Reserves a block of versions for this life of the node and gives the first of it.
pub(crate) async fn reserve_versions(state: &Store) -> Result<u64, Error> {
    state.migrate("discovery", SCHEMA).await?;
    let first = state
        .write(|tx| {
            let next = "UPDATE discovery_versions SET next = next + ?1 RETURNING next - ?1";
            tx.query_row(next, [BLOCK as i64], |row| row.get::<_, i64>(0))
        })
        .await?;
    Ok(first.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn versions_of_a_later_life_are_greater() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let first = reserve_versions(&Store::open(&url).unwrap()).await.unwrap();
        let second = reserve_versions(&Store::open(&url).unwrap()).await.unwrap();
        assert_eq!(second, first + BLOCK);
    }
}
