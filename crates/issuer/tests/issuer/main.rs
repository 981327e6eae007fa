//! The issuer as clients meet it: through a library of others where all goes well, and by hand where it must not.

mod flows;
mod refusals;
mod stage;
