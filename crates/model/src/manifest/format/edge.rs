//! The forms of texts that say what the gateway itself does.

use crate::{
    Network, ParseNetworkError,
    edge::{HeaderEdits, ParseRedisUrlError, Per, Rate, RedirectTarget, RedisUrl, Template, Unusable},
    manifest::{
        error::Code,
        format::{Unfit, unfit},
    },
    nearest, parse_size,
    url::is_host,
};

pub(super) fn rate(text: &str) -> Result<(), Unfit> {
    match text.parse::<Rate>() {
        Ok(_) => Ok(()),
        Err(_) => unfit(
            Code::BAD_VALUE,
            "it is not a rate",
            "write how many in how long, from a second to a day: \"100/m\", \"5/s\", \"20/10s\"",
        ),
    }
}

pub(super) fn per(text: &str) -> Result<(), Unfit> {
    if text.parse::<Per>().is_ok() {
        return Ok(());
    }
    let words = "\"address\", \"principal\", \"key\", \"header:NAME\" or \"all\"";
    let help = match nearest(text, ["address", "principal", "key", "all"]) {
        Some(word) => format!("did you mean \"{word}\"? Requests are counted per {words}"),
        None => format!("write {words}"),
    };
    unfit(Code::BAD_VALUE, "requests are not counted so", help)
}

pub(super) fn network(text: &str) -> Result<(), Unfit> {
    match text.parse::<Network>() {
        Ok(_) => Ok(()),
        Err(ParseNetworkError::Beyond { network, .. }) => unfit(
            Code::BAD_VALUE,
            "bits are set beyond its length",
            format!("write \"{network}\" for all of these addresses, or one address without a length"),
        ),
        Err(ParseNetworkError::Form(_)) => unfit(
            Code::BAD_VALUE,
            "it is not a network",
            "write an address with how many of its bits count: \"10.0.0.0/8\", \"fd00::/8\"; or an address alone",
        ),
    }
}

pub(super) fn redis(text: &str) -> Result<(), Unfit> {
    let Err(error) = text.parse::<RedisUrl>() else { return Ok(()) };
    let help = match error {
        ParseRedisUrlError::Credentials => {
            "leave them out, and write user = \"gateway\" and password = \"${secret.NAME}\" beside `url`"
        }
        _ => "write where it answers: \"redis://limits.internal:6379/0\", over TLS \"rediss://…\"",
    };
    unfit(Code::BAD_VALUE, error.to_string(), help)
}

/// The most that can be said of a body.
const MOST: u64 = 1 << 40;

pub(super) fn bytes(text: &str) -> Result<(), Unfit> {
    let help = "write a whole number and a unit, such as \"64KiB\" or \"10MiB\"";
    match parse_size(text) {
        Ok(0) => unfit(Code::BAD_VALUE, "it is nothing at all", help),
        Ok(size) if size > MOST => unfit(Code::BAD_VALUE, "it is more than 1TiB", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a size", help),
    }
}

/// RFC 6454, section 6.1, as browsers send it: in lower case, without a port that is the scheme's own.
pub(super) fn origin(text: &str) -> Result<(), Unfit> {
    let help = "write a scheme and a host, and a port if it is not the usual one: \"https://shop.example\"; for all write origins = \"*\"";
    let Some((scheme, authority)) = text.split_once("://") else {
        return unfit(Code::BAD_VALUE, "it is not an origin", help);
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, Some(port))
        }
        _ => (authority, None),
    };
    let usual = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
    let good = !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        && (is_host(host) || host.starts_with('[') && host.ends_with(']'))
        && *host == host.to_ascii_lowercase();
    match (good, usual) {
        (true, false) => Ok(()),
        (true, true) => unfit(Code::BAD_VALUE, "browsers leave the usual port out", help),
        (false, _) => unfit(Code::BAD_VALUE, "it is not an origin", help),
    }
}

pub(super) fn prefix(text: &str) -> Result<(), Unfit> {
    if is_plain_path(text) && !text.ends_with('/') && !text.contains("//") {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not the beginning of a path",
        "write whole segments of letters, digits and `-._~`, without a slash at the end: \"/api\", \"/v2/shop\"",
    )
}

/// A path of unreserved characters (RFC 3986, section 2.3) in its one form: what it means cannot change on the way.
fn is_plain_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let dots = |segment: &str| matches!(segment, "." | "..");
    text.starts_with('/') && text.bytes().all(plain) && !text.split('/').any(dots)
}

pub(super) fn edit_name(text: &str) -> Result<(), Unfit> {
    match HeaderEdits::name(text) {
        Ok(_) => Ok(()),
        Err(Unusable::Owned) => unfit(
            Code::OWN_HEADER,
            Unusable::Owned.to_string(),
            "what names the host, frames a message, says who asks or belongs to the context of a call stays as it is; a service reads it, and no manifest writes it",
        ),
        Err(why) => {
            unfit(Code::BAD_MATCH, why.to_string(), "write letters, digits and `-`, such as \"x-tenant\"")
        }
    }
}

pub(super) fn edit_value(text: &str) -> Result<(), Unfit> {
    match Template::parse(text) {
        Ok(_) => Ok(()),
        Err(why) => unfit(
            Code::BAD_VALUE,
            why.to_string(),
            "write visible characters; {address}, {request_id}, {host} and {route} are filled in, and nothing else",
        ),
    }
}

pub(super) fn redirect_to(text: &str) -> Result<(), Unfit> {
    match RedirectTarget::parse(text) {
        Ok(_) => Ok(()),
        Err(why) => unfit(
            Code::BAD_REDIRECT,
            why,
            "write a path (\"/new/{rest}{query}\") or a URL that names its host (\"https://new.example{path}{query}\"): whoever asks must not be able to choose the host",
        ),
    }
}

/// RFC 6265, section 4.1.1; the prefixes that browsers give a meaning of their own (6265bis, section 4.1.3) are not ours
/// to use.
pub(super) fn cookie_name(text: &str) -> Result<(), Unfit> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(token) && !text.starts_with("__") {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not a name for a cookie",
        "write letters, digits and `-`, such as \"variant\"",
    )
}

pub(super) fn media_range(text: &str) -> Result<(), Unfit> {
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&^_.+-".contains(&b))
    };
    match text.split_once('/') {
        Some((main, sub)) if token(main) && (sub == "*" || token(sub)) => Ok(()),
        _ => unfit(
            Code::BAD_VALUE,
            "it is not a media type",
            "write one in lower case, such as \"application/json\", or \"text/*\" for all of a kind",
        ),
    }
}
