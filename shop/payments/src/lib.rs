//! The shop's payments service.
