//! Any subset of the services of the shop in one process.
fn main() {}
