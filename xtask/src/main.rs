//! Checks, benches and chores of this repository.
fn main() {}
