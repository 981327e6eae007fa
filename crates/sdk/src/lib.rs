//! What a service author imports, and nothing else.
//!
//! A service is a value; [`run`] makes it a process:
//!
//! ```no_run
//! use madang::{
//!     Calls, Error, Json, Path, Result, Service, Sqlite,
//!     axum::{Router, http::StatusCode, routing::{get, post}},
//!     sqlx,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, madang::FromRow)]
//! struct Order {
//!     id: i64,
//!     user: i64,
//! }
//!
//! #[derive(Deserialize)]
//! struct NewOrder {
//!     user: i64,
//! }
//!
//! async fn one(Sqlite(db): Sqlite, Path(id): Path<i64>) -> Result<Json<Order>> {
//!     let select = sqlx::query_as("SELECT id, user FROM orders WHERE id = ?");
//!     let order = select.bind(id).fetch_optional(&db).await?;
//!     order.map(Json).ok_or_else(|| Error::not_found(format!("order {id}")))
//! }
//!
//! async fn create(
//!     Sqlite(db): Sqlite,
//!     calls: Calls,
//!     Json(new): Json<NewOrder>,
//! ) -> Result<(StatusCode, Json<Order>)> {
//!     let user = calls.to("users").get(format!("/users/{}", new.user)).send().await?;
//!     if user.status() == StatusCode::NOT_FOUND {
//!         return Err(Error::invalid("user", "there is no such user"));
//!     }
//!     user.error_for_status()?;
//!     let mut write = madang::begin_write(&db).await?;
//!     let insert = sqlx::query_as("INSERT INTO orders (user) VALUES (?) RETURNING id, user");
//!     let order = insert.bind(new.user).fetch_one(&mut *write).await?;
//!     write.commit().await?;
//!     Ok((StatusCode::CREATED, Json(order)))
//! }
//!
//! pub fn service() -> Service {
//!     Service::new("orders")
//!         .sqlite(madang::migrate!("tests/orders/migrations")) // "./migrations" in a crate of your own
//!         .routes(Router::new().route("/orders", post(create)).route("/orders/{id}", get(one)))
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     madang::run(service())
//! }
//! ```
//!
//! # What it gets without a line of its own
//! - **Its environment.** `PORT`, `DATABASE_URL`, `MADANG_URL` and the rest of the contract with a service. Without
//!   a node it runs too: `DATABASE_URL=sqlite:orders.db USERS_URL=http://127.0.0.1:3001 cargo run`.
//! - **A database of its own**: created if it is missing, set up to lose nothing, migrated by one process at a time.
//! - **Health**: `/healthz` answers 200 once the service is prepared and 503 before, `/livez` always answers. These
//!   two paths belong to the process.
//! - **Errors that say what to do**: [`Error`], the extractors' refusals, an unknown path, a panic, all are
//!   `application/problem+json` with a stable code, the request's id and its trace's; a bad field is named.
//! - **Calls** to the services declared in the manifest, balanced in this process without a hop, with the
//!   request's trace and within its deadline. Who calls waits no longer than the one who called it.
//! - **Who it is for**: [`Principal`], whoever the gateway let in, with scopes and roles; verified, and handed on with
//!   the calls that a handler makes.
//! - **gRPC**, served beside HTTP on the same port by what `tonic` generates, and called the way of all calls
//!   ([`grpc`]). The standard's health check is answered.
//! - **A log** of JSON lines on stdout (text on a terminal) in which whatever `tracing` is told during a request
//!   carries the request's ids. `RUST_LOG` says how much.
//! - **Traces**: a span of each request, named by its route, with what it failed with; of each query, with its text but
//!   no values, and of what it waited for; of each call; and of each span of the author's (`#[tracing::instrument]`). All
//!   of one request is one tree, over all services.
//! - **Metrics**: durations of requests by route, connections of the database and waits for them, the runtime; and the
//!   author's own counters ([`Resources::counter`]).
//!
//!   Both go over OTLP to whom OpenTelemetry's variables name: the node, which sets them, or any collector
//!   (`OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318`, `OTEL_TRACES_SAMPLER=always_off`,
//!   `OTEL_METRICS_EXPORTER=none`, `OTEL_SDK_DISABLED=true` and so on). What cannot be sent is dropped, never waited for.
//! - **A graceful stop** on SIGTERM: what is under way is finished, for up to eight seconds.
//!
//! # Several services in one process
//! `madang::run([users::service(), orders::service()])` hosts both, each with its own database
//! (`USERS_DATABASE_URL`, `ORDERS_DATABASE_URL`). Calls between them stay in the process and cannot be told apart
//! from calls over the network: the same limits, headers, errors and cancellation. One port serves all; the header
//! `madang-service` chooses.
//!
//! # Tests
//! [`test::TestApp`] starts services with temporary databases, together or apart.
//!
//! # What it needs beside it
//! `madang::migrate!` and the derives of sqlx and utoipa name these crates by their own names: add them to your
//! `Cargo.toml`, or import them from here (`use madang::{sqlx, utoipa};`) where they allow it.
//!
//! It knows nothing of the node: the two speak HTTP, and a service written without this crate can do the same.

mod calls;
mod changes;
mod context;
mod database;
mod declared;
mod discover;
mod environment;
mod error;
mod extract;
mod fired;
mod front;
pub mod grpc;
mod host;
mod lines;
mod logs;
mod post;
mod principal;
mod process;
mod records;
mod reply;
mod resources;
mod run;
mod serve;
mod service;
mod stack;
mod start;
mod telemetry;
pub mod test;
#[doc(hidden)]
pub mod text;
mod write;

pub use axum;
pub use madang_calls::{Body, CallError};
pub use madang_wire::{Code, FieldError, Problem};
pub use sqlx;
pub use sqlx_macros::{FromRow, migrate};
pub use tokio_util::sync::CancellationToken;
pub use utoipa;

use crate::start::StartError;
pub use crate::{
    calls::{Call, Calls, To},
    context::Context,
    error::{Error, Result},
    extract::{Json, Path, Postgres, Query, Sqlite},
    principal::Principal,
    reply::{Reply, ReplyError},
    resources::Resources,
    run::run,
    service::{IntoServices, Service},
    telemetry::Counter,
    write::{Write, begin_write},
};
