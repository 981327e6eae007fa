//! Listeners, workers and routes.
