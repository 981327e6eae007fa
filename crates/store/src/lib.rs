//! The state.db of a node: open, migrate, and a group-commit writer.
