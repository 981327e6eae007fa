//! Thin commands over the admin API and the node.
fn main() {}
