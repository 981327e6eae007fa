//! The whole shop in one process, told from the side of those who order.

mod crowd;
mod failing;
mod faults;
mod owning;
mod placing;
mod repeating;
mod resuming;
mod world;
