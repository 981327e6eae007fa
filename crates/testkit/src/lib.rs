//! Starts a whole system in a test; fakes and faults.
