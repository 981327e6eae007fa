//! Reconciles the units that should run with those that do.
