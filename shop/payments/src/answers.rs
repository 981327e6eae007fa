//! The answer to each request that had an effect, kept under its key and given again word for word.

use shop_idempotency::Key;
use sqlx::SqliteConnection;

/// An answer as it was first given.
#[derive(Debug, Clone, PartialEq, Eq, madang::FromRow)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON.
    pub body: String,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was never used.
    Nothing,
    /// It was used for this very request, and answered.
    Answer(Answer),
    /// It was used for another request.
    OtherRequest,
}

/// Looks a key up, inside the write transaction in which the effect would happen.
pub async fn recall(tx: &mut SqliteConnection, key: &Key, fingerprint: &str) -> sqlx::Result<Known> {
    let row: Option<(String, u16, String)> =
        sqlx::query_as("SELECT fingerprint, status, body FROM answers WHERE key = ?")
            .bind(key.as_str())
            .fetch_optional(tx)
            .await?;
    Ok(match row {
        None => Known::Nothing,
        Some((first, status, body)) if first == fingerprint => Known::Answer(Answer { status, body }),
        Some(_) => Known::OtherRequest,
    })
}

/// Keeps an answer, inside the write transaction of its effect.
pub async fn remember(
    tx: &mut SqliteConnection,
    key: &Key,
    fingerprint: &str,
    answer: &Answer,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO answers (key, fingerprint, status, body) VALUES (?, ?, ?, ?)")
        .bind(key.as_str())
        .bind(fingerprint)
        .bind(answer.status)
        .bind(&answer.body)
        .execute(tx)
        .await?;
    Ok(())
}
