//! Rules of the repository that the compiler does not know.

pub mod docs;
pub mod features;
pub mod imports;
pub mod licences;

use anyhow::{Result, bail};
use clap::Subcommand;

/// One rule to check.
#[derive(Subcommand)]
pub enum Check {
    /// Each crate imports only what the table of rooms allows.
    Imports {
        /// Prints the table as docs/ARCHITECTURE.md shows it.
        #[arg(long)]
        table: bool,
    },
    /// What several programs are built of has the same features in each, so that it is compiled once.
    Features,
    /// Dependencies have the licences and sources that deny.toml allows.
    Licences,
    /// Links, commands and excerpts in the docs exist as they are shown, translations have the same shape.
    Docs,
}

impl Check {
    /// Checks it.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Imports { table: true } => {
                print!("{}", imports::table());
                Ok(())
            }
            Self::Imports { table: false } => report("import", &imports::violations()?),
            Self::Features => report("feature", &features::violations()?),
            Self::Licences => licences::run(),
            Self::Docs => report("documentation", &docs::violations()?),
        }
    }
}

fn report(rule: &str, violations: &[String]) -> Result<()> {
    for violation in violations {
        eprintln!("{violation}\n");
    }
    match violations.len() {
        0 => Ok(()),
        many => bail!("{many} violation(s) of the {rule} rules"),
    }
}
