//! A small service that keeps notes in SQLite or in PostgreSQL.

use madang::{
    Error, Json, Path, Postgres, Query, Resources, Result, Service, Sqlite,
    axum::{Router, http::StatusCode, routing::get},
    sqlx,
    utoipa::{self, OpenApi},
};
use serde::{Deserialize, Serialize};

#[derive(OpenApi)]
#[openapi(info(title = "", version = ""), components(schemas(NewNote)))]
struct ApiDoc;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
pub struct NewNote {
    text: String,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "only its shape matters")]
pub struct Line {
    quantity: u32,
}

#[derive(Serialize, madang::FromRow)]
pub struct Note {
    id: i64,
    text: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default = "Page::limit")]
    limit: u8,
}

impl Page {
    fn limit() -> u8 {
        50
    }
}

/// Notes in SQLite. The first one is there from the start.
pub fn sqlite() -> Service {
    async fn seed(resources: Resources) -> Result<()> {
        let mut write = madang::begin_write(&resources.sqlite()?).await?;
        sqlx::query("INSERT OR IGNORE INTO notes (id, text) VALUES (1, 'first')")
            .execute(&mut *write)
            .await?;
        Ok(write.commit().await?)
    }
    Service::new("notes")
        .sqlite(madang::migrate!("tests/notes/migrations"))
        .routes(Router::new().route("/notes", get(list).post(create)).route("/notes/{id}", get(one)))
        .openapi(ApiDoc::openapi())
        .prepare(seed)
}

/// Notes in PostgreSQL.
pub fn postgres() -> Service {
    async fn create(Postgres(db): Postgres, Json(note): Json<NewNote>) -> Result<Json<Note>> {
        let insert = "INSERT INTO notes (text) VALUES ($1) RETURNING id, text";
        Ok(Json(sqlx::query_as(insert).bind(note.text).fetch_one(&db).await?))
    }
    async fn list(Postgres(db): Postgres) -> Result<Json<Vec<Note>>> {
        Ok(Json(sqlx::query_as("SELECT id, text FROM notes ORDER BY id").fetch_all(&db).await?))
    }
    Service::new("notes")
        .postgres(madang::migrate!("tests/notes/migrations-postgres"))
        .routes(Router::new().route("/notes", get(list).post(create)))
}

async fn list(Sqlite(db): Sqlite, Query(page): Query<Page>) -> Result<Json<Vec<Note>>> {
    let select = sqlx::query_as("SELECT id, text FROM notes ORDER BY id LIMIT ?");
    Ok(Json(select.bind(page.limit).fetch_all(&db).await?))
}

async fn one(Sqlite(db): Sqlite, Path(id): Path<i64>) -> Result<Json<Note>> {
    let select = sqlx::query_as("SELECT id, text FROM notes WHERE id = ?");
    let note: Option<Note> = select.bind(id).fetch_optional(&db).await?;
    note.map(Json).ok_or_else(|| Error::not_found(format!("note {id}")))
}

async fn create(Sqlite(db): Sqlite, Json(note): Json<NewNote>) -> Result<(StatusCode, Json<Note>)> {
    let mut write = madang::begin_write(&db).await?;
    let insert = sqlx::query_as("INSERT INTO notes (text) VALUES (?) RETURNING id, text");
    let note = insert.bind(note.text).fetch_one(&mut *write).await?;
    write.commit().await?;
    Ok((StatusCode::CREATED, Json(note)))
}
