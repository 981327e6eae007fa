//! The pages as a customer sees them, over the real services and over ones that do not answer.

mod forms;
mod ordering;
mod partial;
mod watching;
mod world;
