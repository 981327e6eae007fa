//! What is said of a manifest, which is read here and not asked of a node.

use clap::Subcommand;
use madang_model::ServiceName;

use super::Which;

/// `madang check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Which system.
    #[command(flatten)]
    pub which: Which,
    /// Print the manifest's JSON Schema, by which editors complete it, and check nothing.
    #[arg(long, conflicts_with = "explain")]
    pub schema: bool,
    /// Print each value in force with the file and line that it came from.
    #[arg(long)]
    pub explain: bool,
}

/// `madang policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Print every limit of the calls of one service to another, with the scope and the line that set it.
    Explain {
        /// Who calls: a service, or `gateway`.
        caller: ServiceName,
        /// Who is called.
        callee: ServiceName,
        /// Of the gateway: the path of the route, as the manifest writes it.
        #[arg(long, value_name = "PATH")]
        route: Option<String>,
    },
}
