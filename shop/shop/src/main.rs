//! Any subset of the services of the shop in one process: `shop users catalog`, or all of them without names. And
//! `shop load`, which loads a shop that runs.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Any subset of the services of the shop in one process.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,

    /// The services to host; all of them if none is named.
    #[arg(value_enum)]
    services: Vec<Part>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(shop_load::args::Options),
}

/// A service of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    Users,
    Catalog,
    Orders,
    Payments,
    Storefront,
}

impl Options {
    /// The services to host, each once.
    fn parts(self) -> Vec<Part> {
        let mut parts = self.services;
        if parts.is_empty() {
            parts = Part::value_variants().to_vec();
        }
        parts.sort();
        parts.dedup();
        parts
    }
}

impl Part {
    fn service(self) -> madang::Service {
        match self {
            Self::Users => shop_users::service(),
            Self::Catalog => shop_catalog::service(),
            Self::Orders => shop_orders::service(),
            Self::Payments => shop_payments::service(),
            Self::Storefront => shop_storefront::service(),
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Command::Load(load)) = &options.command {
        return shop_load::main(load);
    }
    let parts = options.parts();
    madang::run(parts.into_iter().map(Part::service).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_a_wrong_one_is_told_the_right_ones() {
        let parts = |args: &[&str]| Options::try_parse_from(args).map(Options::parts);
        assert_eq!(parts(&["shop"]).unwrap(), Part::value_variants());
        assert_eq!(parts(&["shop", "orders", "users", "orders"]).unwrap(), [Part::Users, Part::Orders]);
        let error = parts(&["shop", "order"]).unwrap_err().to_string();
        assert!(error.contains("[possible values: users, catalog, orders, payments, storefront]"), "{error}");
    }

    #[test]
    fn load_is_a_command_and_no_service() {
        let load =
            Options::try_parse_from(["shop", "load", "--scenario", "flash-sale", "--rate", "5/s"]).unwrap();
        assert!(matches!(load.command, Some(Command::Load(_))));
        assert!(Options::try_parse_from(["shop", "users", "load"]).is_err());
    }
}
