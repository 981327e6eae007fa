//! Bytes that are meant to be read in two ways, to fill memory or to keep others out: what reaches a service, byte by byte,
//! and what is left of the gateway.

mod conformance;
mod floods;
mod frames;
mod messages;
mod slow;
mod smuggling;
#[allow(dead_code)] // the same stage as that of other tests, of which these need less
#[path = "../gateway/stage.rs"]
mod stage;
#[path = "../../src/fuzzing/strict.rs"]
mod strict;
