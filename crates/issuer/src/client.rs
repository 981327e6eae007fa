//! Which client asks (RFC 6749, section 2.3).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::{Client, Settings, parameters::Parameters, random, refused::Refused};

/// The client that a request is from, which has proved it if it has a secret.
pub(crate) fn of<'a>(
    settings: &'a Settings,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<(&'a str, &'a Client), Refused> {
    let basic =
        headers.get(header::AUTHORIZATION).map(|value| basic(value.as_bytes()).ok_or(Refused::Client));
    let posted = parameters.get("client_secret");
    let (name, secret) = match basic.transpose()? {
        // One way at a time, and for one client.
        Some((name, _)) if posted.is_some() || parameters.get("client_id").is_some_and(|id| id != name) => {
            return Err(Refused::Request("the client says in two ways who it is"));
        }
        Some((name, secret)) => (name, Some(secret)),
        None => (parameters.get("client_id").ok_or(Refused::Client)?.to_owned(), posted.map(str::to_owned)),
    };
    let (name, client) = settings.clients.get_key_value(&name).ok_or(Refused::Client)?;
    let proved = match (&client.secret, &secret) {
        (Some(kept), Some(given)) => random::same(kept, &random::hash(given)),
        (None, None) => true,
        // A public client that sends a secret is taken for another.
        (Some(_), None) | (None, Some(_)) => false,
    };
    if proved { Ok((name, client)) } else { Err(Refused::Client) }
}

fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    let (name, secret) = text.split_once(':')?;
    let plain =
        |text: &str| Some(percent_decode_str(&text.replace('+', " ")).decode_utf8().ok()?.into_owned());
    Some((plain(name)?, plain(secret)?))
}
