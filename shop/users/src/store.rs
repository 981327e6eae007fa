//! The users' table.

use sqlx::SqlitePool;

use crate::user::{Name, User};

/// The users after an id, in the order of their ids.
pub async fn page(pool: &SqlitePool, after: i64, limit: u32) -> sqlx::Result<Vec<User>> {
    sqlx::query_as("SELECT id, name FROM users WHERE id > ? ORDER BY id LIMIT ?")
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await
}

/// One user.
pub async fn find(pool: &SqlitePool, id: i64) -> sqlx::Result<Option<User>> {
    sqlx::query_as("SELECT id, name FROM users WHERE id = ?").bind(id).fetch_optional(pool).await
}

/// Adds a user.
pub async fn add(pool: &SqlitePool, name: &Name) -> sqlx::Result<User> {
    sqlx::query_as("INSERT INTO users (name) VALUES (?) RETURNING id, name")
        .bind(name.as_str())
        .fetch_one(pool)
        .await
}
