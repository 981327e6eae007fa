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

/// Adds a user, who logs in by this name with the password of this hash, if with any. Nothing if the name is taken.
pub async fn add(pool: &SqlitePool, name: &Name, login: Option<(&Name, &str)>) -> sqlx::Result<Option<User>> {
    let mut tx = pool.begin().await?;
    let user: User = sqlx::query_as("INSERT INTO users (name) VALUES (?) RETURNING id, name")
        .bind(name.as_str())
        .fetch_one(&mut *tx)
        .await?;
    if let Some((login, hash)) = login {
        let sql =
            "INSERT INTO logins (login, user, password) VALUES (?, ?, ?) ON CONFLICT (login) DO NOTHING";
        let added = sqlx::query(sql).bind(login.as_str()).bind(user.id).bind(hash).execute(&mut *tx).await?;
        if added.rows_affected() == 0 {
            return Ok(None);
        }
    }
    tx.commit().await?;
    Ok(Some(user))
}

/// Whoever logs in by a name, and the hash of their password.
pub async fn by_login(pool: &SqlitePool, login: &str) -> sqlx::Result<Option<(User, String)>> {
    let sql = "SELECT id, name, password FROM users JOIN logins ON user = id WHERE login = ?";
    let found: Option<(i64, String, String)> = sqlx::query_as(sql).bind(login).fetch_optional(pool).await?;
    Ok(found.map(|(id, name, password)| (User { id, name }, password)))
}
