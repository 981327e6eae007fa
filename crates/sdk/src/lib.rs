//! What a service author imports, and nothing else.

mod calls;
mod context;
mod database;
mod declared;
mod discover;
mod environment;
mod error;
mod extract;
mod front;
mod host;
mod logs;
mod process;
mod reply;
mod resources;
mod run;
mod serve;
mod service;
mod stack;
mod start;
pub mod test;

pub use axum;
pub use madang_calls::{Body, CallError};
pub use madang_wire::{Code, FieldError, Problem};
pub use sqlx;
pub use tokio_util::sync::CancellationToken;
pub use utoipa;

pub use crate::{
    calls::{Call, Calls, To},
    context::Context,
    database::begin_write,
    error::{Error, Result},
    extract::{Json, Path, Postgres, Query, Sqlite},
    reply::{Reply, ReplyError},
    resources::Resources,
    run::run,
    service::{IntoServices, Service},
    start::StartError,
};
