//! The contract of payments over gRPC: `proto/payments.proto`, and the client and server that are generated of it.
//!
//! The generated code is kept with the contract, so that building the shop takes no compiler of contracts; a test
//! of `xtask` sees to it that the two agree, and writes it anew with `UPDATE_EXPECT=1`.

#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
mod generated;

pub use generated::{payments_client, payments_server, *};
