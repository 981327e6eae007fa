//! When an authority wants a certificate to be renewed (ARI, RFC 9773): so that not all of its customers come at once, and so
//! that they come soon if it has to take certificates back.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Request, StatusCode};
use instant_acme::CertificateIdentifier;
use jiff::Timestamp;
use madang_gateway::Certificate;
use madang_model::Acme;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::http::{Http, retry_after};
use crate::tls::development::half_life;

/// How long it is not asked again at least and at most, whatever it wants (section 4.3.2).
const SOONEST: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(DAY);

/// How long it is not asked again if it does not say.
const USUAL: Duration = Duration::from_secs(6 * 60 * 60);

/// How long it is not asked again after it could not be.
pub(super) const AFTER_FAILURE: Duration = Duration::from_secs(60 * 60);

/// How much of an explanation's address is written to the log, in bytes.
const LONGEST: usize = 300;

const DAY: u64 = 24 * 60 * 60;

/// A certificate that an authority may be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Which it is.
    pub(super) number: CertificateIdentifier<'static>,
    /// In seconds since 1970.
    begins: u64,
    half: u64,
    ends: u64,
}

/// What an authority has said of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// When to renew it, in seconds since 1970; nothing if it says that of no certificate.
    pub(super) at: Option<u64>,
    /// How long it is not asked again.
    pub(super) again: Duration,
    /// Where it says why.
    pub(super) explanation: Option<String>,
}

/// What is read of a directory (section 4.2, and RFC 8555, section 7.1.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    renewal_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: String,
    end: String,
}

/// Asks when to renew a certificate.
///
/// # Errors
/// Why it is not known.
pub(super) async fn ask(acme: &Acme, kept: &Kept, http: &Http) -> Result<Told, String> {
    let directory = acme.directory.to_string();
    let (_, found) = get(http, &directory).await?;
    let found: Directory = serde_json::from_slice(&found).map_err(|error| format!("{directory}: {error}"))?;
    let Some(url) = found.renewal_info else {
        return Ok(Told { at: None, again: LATEST, explanation: None });
    };
    let url = format!("{}/{}", url.trim_end_matches('/'), kept.number);
    let (headers, document) = get(http, &url).await?;
    kept.told(&document, &headers).map_err(|why| format!("{url}: {why}"))
}

async fn get(http: &Http, url: &str) -> Result<(HeaderMap, bytes::Bytes), String> {
    let request = Request::get(url).body(bytes::Bytes::new()).map_err(|error| format!("{url}: {error}"))?;
    let answer = http.exchange(request).await?;
    match answer.status {
        StatusCode::OK => Ok((answer.headers, answer.body)),
        other => Err(format!("{url} answers {other}")),
    }
}

/// In the form in which both sides write it (section 4.1).
fn number(key: &[u8], serial: &[u8]) -> CertificateIdentifier<'static> {
    let text = |bytes| URL_SAFE_NO_PAD.encode(bytes).into();
    CertificateIdentifier { authority_key_identifier: text(key), serial: text(serial) }
}

// === impl Kept ===

impl Kept {
    /// Nothing if the certificate does not say which it is.
    pub(super) fn of(certificate: &Certificate) -> Option<Self> {
        let (key, serial) = certificate.number()?;
        Some(Self {
            number: number(key, serial),
            begins: certificate.begins(),
            half: half_life(certificate),
            ends: certificate.ends(),
        })
    }

    fn told(&self, document: &[u8], headers: &HeaderMap) -> Result<Told, String> {
        let Document { suggested_window: Window { start, end }, explanation } =
            serde_json::from_slice(document).map_err(|error| error.to_string())?;
        let moment = |text: &str| -> Result<u64, String> {
            let moment: Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
            Ok(u64::try_from(moment.as_second()).unwrap_or(0))
        };
        let (start, end) = (moment(&start)?, moment(&end)?);
        if end < start {
            return Err("the time that it suggests ends before it begins".to_owned());
        }
        let again = retry_after(headers).unwrap_or(USUAL).clamp(SOONEST, LATEST);
        let shown = |url: &String| url.len() <= LONGEST && url.bytes().all(|byte| byte.is_ascii_graphic());
        Ok(Told { at: Some(self.between(start, end)), again, explanation: explanation.filter(shown) })
    }

    /// When to renew it if its authority suggests to from `start` to `end`: at a moment of these that follows from which
    /// certificate it is, so that it is another one for each and the same after a restart. An authority that takes a
    /// certificate back suggests what is over. But not on its first day, so that one that is mistaken is not asked in
    /// circles; and so that there is time to fail in before the end.
    fn between(&self, start: u64, end: u64) -> u64 {
        let draw = digest(&SHA256, self.number.to_string().as_bytes());
        let draw = draw.as_ref().iter().take(4).fold(0, |all, byte| all << 8 | u64::from(*byte));
        let moment = start.saturating_add(((u128::from(end - start) * u128::from(draw)) >> 32) as u64);
        let latest = self.ends - (self.ends - self.begins) / 10;
        moment.clamp(self.half.min(self.begins.saturating_add(DAY)), latest)
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    /// Ninety days.
    fn kept(serial: &[u8]) -> Kept {
        Kept { number: number(b"key", serial), begins: 0, half: 45 * DAY, ends: 90 * DAY }
    }

    fn told(document: &str, again: &str) -> Result<Told, String> {
        let headers = [(RETRY_AFTER, again.parse().unwrap())].into_iter().collect();
        kept(b"1").told(document.as_bytes(), &headers)
    }

    /// The example of section 4.1.
    #[test]
    fn a_certificate_is_called_as_the_standard_calls_it() {
        let key = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c,
            0xde, 0x01, 0xc8, 0xd4,
        ];
        let called = number(&key, &[0x00, 0x87, 0x65, 0x43, 0x21]).to_string();
        assert_eq!(called, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }

    #[test]
    fn a_moment_of_those_that_are_suggested_is_taken_and_always_the_same() {
        let moments: Vec<u64> = (0..64).map(|serial| kept(&[serial]).between(60 * DAY, 62 * DAY)).collect();
        assert!(moments.iter().all(|at| (60 * DAY..62 * DAY).contains(at)), "{moments:?}");
        let early = moments.iter().filter(|at| **at < 61 * DAY).count();
        assert!((16..48).contains(&early), "{early} of 64 in the first half");
        assert_eq!(kept(&[7]).between(60 * DAY, 62 * DAY), moments[7]);
        assert_eq!(kept(&[7]).between(60 * DAY, 60 * DAY), 60 * DAY);
    }

    #[test]
    fn it_is_never_on_the_first_day_and_never_too_late() {
        for (start, end, expected) in
            [(0, 0, DAY), (30 * DAY, 30 * DAY, 30 * DAY), (89 * DAY, u64::MAX, 81 * DAY), (0, 60, DAY)]
        {
            assert_eq!(kept(b"1").between(start, end), expected, "{start} to {end}");
        }
        let short = Kept { half: DAY / 2, ends: DAY, ..kept(b"1") };
        assert_eq!(short.between(0, 0), DAY / 2, "half of its life is before the end of the first day");
    }

    #[test]
    fn what_an_authority_says_is_read_within_bounds() {
        let window =
            r#"{"suggestedWindow":{"start":"1970-02-10T00:00:00Z","end":"1970-02-09T19:00:00-05:00"}"#;
        let at = Some(40 * DAY);
        for (again, expected) in [("21600", 21_600), ("0", 60), ("99999999", DAY), ("soon", 6 * 60 * 60)] {
            let told = told(&format!("{window}}}"), again).unwrap();
            assert_eq!((told.at, told.again), (at, Duration::from_secs(expected)), "{again}");
        }
        let why = |url: &str| {
            let document = format!("{window},\"explanationURL\":{}}}", serde_json::json!(url));
            told(&document, "60").unwrap().explanation
        };
        assert_eq!(why("https://a.example/why").as_deref(), Some("https://a.example/why"));
        assert_eq!((why("a\u{1b}[0m"), why(&"x".repeat(301))), (None, None));
    }

    #[test]
    fn what_makes_no_sense_is_not_believed() {
        for document in [
            "",
            "[]",
            "{}",
            r#"{"suggestedWindow":{"start":"1970-02-10T00:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":"tomorrow","end":"1970-02-10T00:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":"1970-02-11T00:00:00Z","end":"1970-02-10T00:00:00Z"}}"#,
        ] {
            assert!(told(document, "60").is_err(), "{document}");
        }
    }
}
