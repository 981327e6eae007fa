//! What is said of what is kept: secrets, API keys and answers.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use madang_model::{ServiceName, parse_duration};

/// `madang secret`.
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Keep a secret: asked for without being shown, or read from stdin.
    Set(SetSecret),
    /// List the names of those that are kept, and which units are told them.
    List,
    /// Forget a secret.
    Rm {
        /// Its name.
        name: String,
    },
    /// Print the id of the key that opens them.
    Key {
        /// Print the key itself, for somebody who is to have it, or for the variable MADANG_SECRETS_KEY of a machine.
        #[arg(long)]
        show: bool,
        /// Make a new key first, and seal all of them with it.
        #[arg(long)]
        new: bool,
    },
}

/// `madang secret set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang secret set pay                              asks for it
  pass show stripe | madang secret set pay           takes what another program says
  madang secret set tls-key --from key.pem           takes a file as it is
  madang secret set pay --env production             keeps that of an environment apart

In the manifest it stands in `env`, as in env = { PAY_KEY = \"${secret.pay}\" }. It is sealed in madang-secrets.toml,
which may be kept with the code; the key is kept in ~/.config/madang/keys, or given in MADANG_SECRETS_KEY.")]
pub struct SetSecret {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The file that holds it, instead of stdin.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// `madang key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key, and print it: this once, since only a hash of it is kept.
    Create(CreateKey),
    /// List the keys, also those that have expired.
    List,
    /// Revoke a key: it is good for nothing any more.
    Revoke {
        /// The key's name, or its id.
        name: String,
    },
    /// Have the built-in issuer sign tokens with a new key; those that it has signed stay good to their end.
    Rotate,
}

/// `madang key create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang key create ci --scope orders:read --expires 90d
  curl -H \"authorization: Bearer $(madang key create ci)\" http://127.0.0.1:3000/orders

The gateway takes keys if the manifest says keys = true in [gateway.auth]. A service sees the subject key:NAME.")]
pub struct CreateKey {
    /// Its name, which services see as the subject `key:NAME`.
    pub name: ServiceName,
    /// A scope that it has; to be given for each.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// How long it is good: `12h`, `90d` [default: until it is revoked].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub expires: Option<Duration>,
}

/// `madang cache`.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show what is kept of each route, and how often that was of use.
    Show,
    /// Forget answers: whoever asks next asks the service.
    Purge(Purge),
}

/// `madang cache purge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  madang cache purge /products/7       what was asked for at this path, with any query
  madang cache purge \"/products/**\"   the same, of all paths below it
  madang cache purge --tag catalogue   what the route or the answer (in Cache-Groups) is tagged with")]
#[group(required = true, multiple = false)]
pub struct Purge {
    /// A path, as clients ask for it; with `/**` at its end all below it too.
    pub path: Option<String>,
    /// The path of a route, as the manifest writes it.
    #[arg(long, value_name = "PATH")]
    pub route: Option<String>,
    /// A service.
    #[arg(long)]
    pub service: Option<ServiceName>,
    /// A tag.
    #[arg(long)]
    pub tag: Option<String>,
    /// Everything.
    #[arg(long)]
    pub all: bool,
}
