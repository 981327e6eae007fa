//! Log files and request records in; store and query.
