//! The built-in issuer can do what its clients are to get, and a browser that logs in is asked by somebody.

use std::collections::BTreeSet;

use crate::{
    Grant, OwnIssuer,
    manifest::{
        DEFAULT_LISTEN,
        error::{Code, Found, ManifestError},
        issuer::{RawClient, RawIssuerOptions, RawLogin, asked, names, own},
        plan,
        raw::RawSystem,
        source::At,
    },
    nearest,
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    if let Some(issuer) = &raw.issuer {
        users(raw, issuer, found);
        if let Some(At { spot, .. }) = issuer.listen.as_ref().filter(|at| at.value.port() == 0) {
            found.push(
                ManifestError::new(Code::BAD_VALUE, "the issuer cannot listen on any port that is free")
                    .at(spot, "is part of its name")
                    .hint("tokens name who made them: write a port that stays, such as 3010"),
            );
        }
        for client in issuer.clients.iter().filter(|client| client.sound) {
            one(raw, issuer, client, found);
        }
    }
    let built_in = raw.auth.as_ref().and_then(|auth| auth.built_in.as_ref());
    if let Some(at) = built_in.filter(|at| at.value && !raw.has_issuer) {
        found.push(
            ManifestError::new(
                Code::NOBODY_KNOWS,
                "the tokens of the built-in issuer are taken, and there is none",
            )
            .at(&at.spot, "needs [issuer]")
            .hint("add to madang.toml: [issuer] with users = \"users\", the service that knows passwords"),
        );
    }
    if let Some(login) = raw.login.as_ref().filter(|login| login.sound) {
        browser(raw, login, found);
    }
}

fn users(raw: &RawSystem, issuer: &RawIssuerOptions, found: &mut Found) {
    let Some(users) = issuer.users.as_ref().filter(|_| !raw.incomplete) else { return };
    let services = plan::services(raw);
    if services.contains_key(&users.value) {
        return;
    }
    let names = services.keys().map(|name| name.as_str());
    let help = match nearest(users.value.as_str(), names) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "name the service that answers POST /madang/login".to_owned(),
    };
    found.push(
        ManifestError::new(Code::UNKNOWN_SERVICE, format!("there is no service \"{}\"", users.value))
            .at(&users.spot, "is to know passwords")
            .hint(help),
    );
}

fn one(raw: &RawSystem, issuer: &RawIssuerOptions, client: &RawClient, found: &mut Found) {
    let At { value: name, spot } = &client.name;
    let mut refuse = |why: String, label: &str, help: &str| {
        found.push(ManifestError::new(Code::CONTRADICTION, why).at(spot, label.to_owned()).hint(help));
    };
    // What is for the system is good at its routes, and what is for a client must not be.
    let system = raw.name.as_ref().map(|at| at.value.as_str());
    if name == OwnIssuer::GATEWAY || Some(name.as_str()) == system {
        refuse(
            format!("a client cannot have the name {name}"),
            "is somebody else's",
            "choose another: the gateway's and the system's own names are taken",
        );
    }
    if client.has(Grant::ClientCredentials) && client.secret.is_none() {
        refuse(
            format!("the client {name} has nothing to prove who it is"),
            "gets tokens for itself, without a secret",
            "add secret = \"${secret.NAME}\", or leave client_credentials out of its `grants`",
        );
    }
    if !client.has(Grant::AuthorizationCode) {
        return;
    }
    if client.redirects.is_empty() {
        refuse(
            format!("nobody who logs in could come back to the client {name}"),
            "has no `redirects`",
            "add redirects = [\"https://app.example/callback\"], or grants = [\"client_credentials\"] for a program without people",
        );
    }
    if issuer.users.is_none() {
        refuse(
            format!("nobody could log in for the client {name}"),
            "needs somebody who knows passwords",
            "add users = \"users\" to [issuer]: the service that answers POST /madang/login",
        );
    }
}

/// A session must not be read on the way: the gateway is seen over TLS, or on this machine.
fn private(raw: &RawSystem, login: &RawLogin, found: &mut Found) {
    let open = match &login.url {
        Some(url) => !url.value.is_private(),
        None if raw.tls.is_some() => false,
        None => !raw.listen.as_ref().map_or(DEFAULT_LISTEN, |at| at.value).ip().is_loopback(),
    };
    if open {
        let spot = login.url.as_ref().map_or(&login.spot, |at| &at.spot);
        found.push(
            ManifestError::new(Code::BAD_VALUE, "a session could be read on the way")
                .at(spot, "does not say where browsers see the gateway over TLS")
                .hint(
                    "write url = \"https://shop.example\", where TLS ends; http:// is for this machine alone",
                ),
        );
    }
}

fn browser(raw: &RawSystem, login: &RawLogin, found: &mut Found) {
    if !raw.has_auth {
        found.push(
            ManifestError::new(Code::NOBODY_KNOWS, "browsers log in, and nobody's tokens are taken")
                .at(&login.spot, "needs [gateway.auth]")
                .hint("add to madang.toml: [gateway.auth] with built_in = true, or with issuers"),
        );
        return;
    }
    if raw.auth.as_ref().is_none_or(|auth| !auth.sound) {
        return;
    }
    private(raw, login, found);
    let known: BTreeSet<String> = names(raw).into_iter().collect();
    let Some(issuer) = asked(login, raw) else {
        let spot = login.issuer.as_ref().map_or(&login.spot, |at| &at.spot);
        let list = known.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        let help = match list.is_empty() {
            true => "let [gateway.auth] take tokens of an issuer first".to_owned(),
            false => format!("write issuer = {list}"),
        };
        found.push(
            ManifestError::new(Code::NOBODY_KNOWS, "nobody is known who logs browsers in")
                .at(spot, "names none of those whose tokens are taken")
                .hint(help),
        );
        return;
    };
    if own(raw).as_ref() == Some(&issuer) {
        if raw.issuer.as_ref().is_some_and(|issuer| issuer.users.is_none()) {
            found.push(
                ManifestError::new(Code::CONTRADICTION, "nobody could log in at the built-in issuer")
                    .at(&login.spot, "needs somebody who knows passwords")
                    .hint("add users = \"users\" to [issuer]: the service that answers POST /madang/login"),
            );
        }
    } else if login.client.is_none() {
        found.push(
            ManifestError::new(Code::MISSING_KEY, "[gateway.login] needs the key `client`")
                .at(&login.spot, "`client` is missing")
                .hint("write the name under which the issuer knows the gateway; its secret is secret = \"${secret.NAME}\""),
        );
    }
}
