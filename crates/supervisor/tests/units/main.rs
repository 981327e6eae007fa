//! Units as real processes: how they start, end, are replaced and stop.

mod builds;
mod edits;
mod exits;
mod harness;
mod held;
mod left_out;
mod records;
mod starts;
mod stops;
mod takeovers;
