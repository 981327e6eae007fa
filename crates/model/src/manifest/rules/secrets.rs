//! `${secret.NAME}` stands in `env`, and its name in the file of the system's secrets.

use std::collections::BTreeSet;

use crate::{
    manifest::{
        Placeholder,
        error::{Code, Found, ManifestError},
        issuer::secret,
        plan,
        raw::RawSystem,
        source::Spot,
    },
    nearest,
};

/// The kept names, by `kept`, are asked for only if a program wants a secret; none if they cannot be read.
pub(in crate::manifest) fn check(
    raw: &RawSystem,
    environment: Option<&str>,
    found: &mut Found,
    kept: impl FnOnce(&mut Found) -> Option<BTreeSet<String>>,
) {
    let units = plan::units(raw);
    let clients = raw.issuer.iter().flat_map(|issuer| &issuer.clients).filter_map(|it| it.secret.as_ref());
    let clients = clients.chain(raw.login.iter().filter_map(|login| login.secret.as_ref()));
    let clients = clients.map(|at| ("`secret`", at));
    let store = raw.limit_store.iter().filter_map(|store| store.password.as_ref());
    let acme = raw.tls.iter().filter_map(|tls| tls.acme.as_ref()?.external_account.as_ref());
    let own: Vec<_> = clients
        .chain(store.map(|at| ("`password`", at)))
        .chain(acme.map(|account| ("`key`", &account.key)))
        .filter_map(|(key, at)| Some((key, secret(&at.value)?, at.spot.clone())))
        .collect();
    let own = own.iter().map(|(key, name, spot)| (*key, name.as_str(), spot.clone()));
    let wanted: Vec<(&str, &str, Spot)> = units
        .iter()
        .flat_map(plan::Planned::placeholders)
        .filter_map(|(key, placeholder, spot)| match placeholder {
            Placeholder::Secret(name) => Some((key, name, spot)),
            _ => None,
        })
        .chain(own)
        .collect();
    if wanted.is_empty() {
        return;
    }
    let kept = kept(found);
    for (key, name, spot) in wanted {
        if key == "`run`" {
            found.push(on_a_command_line(name, &spot));
        } else if let Some(kept) = &kept
            && !kept.contains(name)
        {
            found.push_with(|| unknown(name, &spot, kept, environment));
        }
    }
}

fn on_a_command_line(name: &str, spot: &Spot) -> ManifestError {
    ManifestError::new(Code::OPEN_SECRET, format!("the secret \"{name}\" would be on a command line"))
        .at(spot, "everybody on the machine can read it there")
        .hint(format!(
            "hand it over in a variable, as in env = {{ KEY = \"${{secret.{name}}}\" }}, and have the program read that"
        ))
}

fn unknown(name: &str, spot: &Spot, kept: &BTreeSet<String>, environment: Option<&str>) -> ManifestError {
    let (of, option) = match environment {
        Some(environment) => (format!(" of {environment}"), format!(" --env {environment}")),
        None => (String::new(), String::new()),
    };
    let set = format!("`madang secret set {name}{option}` asks for it and keeps it sealed");
    let help = match nearest(name, kept.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean ${{secret.{meant}}}? Otherwise {set}"),
        None => set,
    };
    ManifestError::new(Code::UNKNOWN_SECRET, format!("there is no secret \"{name}\"{of}"))
        .at(spot, "is not kept")
        .hint(help)
}
