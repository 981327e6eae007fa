//! What a service author imports, and nothing else.
