//! The forms that say who somebody is, and who vouches for it.

use std::net::Ipv4Addr;

use crate::{
    ParseUrlError, WebUrl,
    manifest::{
        self,
        error::Code,
        format::{Unfit, unfit},
    },
    url::is_host,
};

/// A secret in the manifest would be read by whoever reads the code.
pub(super) fn secret(text: &str) -> Result<(), Unfit> {
    match manifest::issuer::secret(text) {
        Some(_) => Ok(()),
        None => unfit(
            Code::BAD_VALUE,
            "it is not the name of a kept secret",
            "write \"${secret.NAME}\", and keep it with `madang secret set NAME`",
        ),
    }
}

pub(super) fn issuer(text: &str) -> Result<(), Unfit> {
    let url = keys(text)?;
    if url.target.contains('?') {
        return unfit(
            Code::BAD_VALUE,
            "it has a query",
            "write the issuer as its tokens have it in `iss`, such as \"https://id.example/realms/shop\"",
        );
    }
    Ok(())
}

/// Keys that somebody could change on the way would let anybody in.
pub(super) fn keys(text: &str) -> Result<WebUrl, Unfit> {
    let url: WebUrl = match text.parse() {
        Ok(url) => url,
        Err(error) => {
            let help = "write the scheme and the host, such as \"https://id.example/realms/shop\"";
            return unfit(Code::BAD_VALUE, ParseUrlError::to_string(&error), help);
        }
    };
    match url.server.is_private() {
        true => Ok(url),
        false => unfit(
            Code::BAD_VALUE,
            "whoever is on the way could put keys of their own in",
            "write https://; http:// is for this machine alone, such as \"http://127.0.0.1:8080\"",
        ),
    }
}

/// What is sent there lets somebody in: nobody may read it on the way.
pub(super) fn redirect(text: &str) -> Result<(), Unfit> {
    let help = "write the whole URL to the letter, such as \"https://app.example/callback\"; http:// is for this machine alone";
    match text.parse::<WebUrl>() {
        Ok(url) if url.server.is_private() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') => {
            Ok(())
        }
        Ok(_) => unfit(Code::BAD_VALUE, "whoever is on the way could read what is sent there", help),
        Err(error) => unfit(Code::BAD_VALUE, ParseUrlError::to_string(&error), help),
    }
}

pub(super) fn claim(text: &str) -> Result<(), Unfit> {
    let plain = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if plain && !text.starts_with('.') && !text.ends_with('.') {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not the name of a claim",
        "write a name, or the names on the way to it with dots between them, such as \"realm_access.roles\"",
    )
}

/// RFC 6749, section 3.3.
pub(super) fn oauth_scope(text: &str) -> Result<(), Unfit> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not one scope",
        "write one without blanks, such as \"orders:write\"; several are a list: scope = [\"orders:read\", \"orders:write\"]",
    )
}

/// What an authority takes as a contact (RFC 8555, section 7.3): one address, without a name or parameters.
pub(super) fn mail(text: &str) -> Result<(), Unfit> {
    let graphic = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '?' | ':' | '<' | '>' | '%');
    let fits = |(local, host): (&str, &str)| !local.is_empty() && host.contains('.') && !host.contains('@');
    if text.len() <= 254 && text.chars().all(graphic) && text.split_once('@').is_some_and(fits) {
        return Ok(());
    }
    unfit(Code::BAD_VALUE, "it is no mail address", "write one address, such as \"ops@shop.example\"")
}

pub(super) fn domain(text: &str) -> Result<(), Unfit> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if !is_host(name) || name.parse::<Ipv4Addr>().is_ok() {
        let help = "write a name without a scheme and without a port, such as \"shop.example\"";
        return unfit(Code::BAD_DOMAIN, "it is not the name of a host", help);
    }
    if name != text {
        let help =
            "name each host, or have a program that can change your DNS write the files of `certificates`";
        return unfit(
            Code::BAD_DOMAIN,
            "only who can change the DNS is given a certificate for all names",
            help,
        );
    }
    Ok(())
}

pub(super) fn directory(text: &str) -> Result<(), Unfit> {
    let help = "write https:// and all of it, such as \"https://acme-v02.api.letsencrypt.org/directory\"; http:// is for this machine alone";
    match text.parse::<WebUrl>() {
        Ok(url) if url.server.is_private() => Ok(()),
        Ok(_) => unfit(Code::BAD_VALUE, "whoever is on the way could be the authority", help),
        Err(error) => unfit(Code::BAD_VALUE, error.to_string(), help),
    }
}
