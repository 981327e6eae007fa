//! A service whose requests each make one query: `cargo xtask bench tracing` measures what its spans cost.

use madang::{
    Error, Path, Result, Service, Sqlite,
    axum::{Router, routing::get},
    sqlx,
};

fn main() -> std::process::ExitCode {
    let routes = Router::new().route("/bytes/{size}", get(bytes));
    madang::run(Service::new("bytes").sqlite(madang::migrate!("examples/telling/migrations")).routes(routes))
}

/// So many bytes, if there is an item with this number.
async fn bytes(Sqlite(db): Sqlite, Path(size): Path<u32>) -> Result<Vec<u8>> {
    let select = sqlx::query_as("SELECT name, price FROM items WHERE id = ?");
    let found: Option<(String, i64)> = select.bind(size).fetch_optional(&db).await?;
    let (name, _) = found.ok_or_else(|| Error::not_found(format!("item {size}")))?;
    Ok(name.into_bytes().into_iter().cycle().take(size as usize).collect())
}
