//! Requests that servers read in different ways, in the shapes that have been published: each is refused, or reaches the
//! service in the one form that there is no second reading of.

use crate::{
    stage::{Stage, raw, recorder},
    strict::{self, Read},
};

/// What must become of a request.
#[derive(Debug, Clone, Copy)]
enum Becomes {
    /// It is refused with a status, or cut off, and no byte of it is a request to the service.
    Refused,
    /// It may be refused, or reach the service with this body; what follows it is no request.
    Settled(&'static str),
    /// The service gets these targets, in this order.
    Requests(&'static [&'static str]),
}

use Becomes::{Refused, Requests, Settled};

const NEXT: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// Shapes of `Transfer-Encoding` beside a length of 4, before chunks that end at once and a request that must not be one.
const CODINGS: &[(&str, &str)] = &[
    ("both", "Transfer-Encoding: chunked"),
    ("prefix", "Transfer-Encoding: xchunked"),
    ("suffix", "Transfer-Encoding: chunkedx"),
    ("cut", "Transfer-Encoding: chunk"),
    ("space before the colon", "Transfer-Encoding : chunked"),
    ("tab before the colon", "Transfer-Encoding\t: chunked"),
    ("tab after the colon", "Transfer-Encoding:\tchunked"),
    ("vertical tab", "Transfer-Encoding:\x0bchunked"),
    ("form feed", "Transfer-Encoding: \x0cchunked"),
    ("nul before", "Transfer-Encoding: \0chunked"),
    ("nul after", "Transfer-Encoding: chunked\0"),
    ("two", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    ("two, other order", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
    ("two, other case", "Transfer-Encoding: chunked\r\nTransfer-encoding: x"),
    ("list", "Transfer-Encoding: chunked, identity"),
    ("list, other order", "Transfer-Encoding: identity, chunked"),
    ("list with nothing", "Transfer-Encoding: , chunked"),
    ("twice in a list", "Transfer-Encoding: chunked, chunked"),
    ("quotes", "Transfer-Encoding: \"chunked\""),
    ("quote", "Transfer-Encoding: 'chunked'"),
    ("parameter", "Transfer-Encoding: chunked;a=b"),
    ("folded", "Transfer-Encoding:\r\n chunked"),
    ("folded name", "Transfer-Encoding\r\n : chunked"),
    ("line before", "X: x\nTransfer-Encoding: chunked"),
    ("carriage return before", "X: x\rTransfer-Encoding: chunked"),
    ("line within", "Transfer-Encoding: chu\nnked"),
    ("space before the name", " Transfer-Encoding: chunked"),
    ("underscore", "Transfer_Encoding: chunked"),
    ("no colon", "Transfer-Encoding chunked"),
    ("high byte", "Transfer-Encoding: \u{ff}chunked"),
    ("case", "TrAnSfEr-EnCoDiNg: cHuNkEd"),
    ("trailing space", "Transfer-Encoding: chunked "),
    ("nominated", "Transfer-Encoding: chunked\r\nConnection: transfer-encoding"),
    ("length nominated", "Transfer-Encoding: chunked\r\nConnection: content-length"),
];

/// Shapes of `Content-Length` before three bytes and a request that must not be one.
const LENGTHS: &[(&str, &str)] = &[
    ("plus", "Content-Length: +3"),
    ("minus", "Content-Length: -3"),
    ("hexadecimal", "Content-Length: 0x3"),
    ("list", "Content-Length: 3, 4"),
    ("list of the same", "Content-Length: 3, 3"),
    ("two", "Content-Length: 3\r\nContent-Length: 40"),
    ("two, nothing first", "Content-Length: 0\r\nContent-Length: 3"),
    ("empty", "Content-Length: "),
    ("empty and one", "Content-Length:\r\nContent-Length: 3"),
    ("spaces within", "Content-Length: 3 3"),
    ("space before the colon", "Content-Length : 3"),
    ("underscore", "Content_Length: 3"),
    ("folded", "Content-Length: 3\r\n 4"),
    ("too large", "Content-Length: 18446744073709551619"),
    ("far too large", "Content-Length: 100000000000000000000000000003"),
    ("fraction", "Content-Length: 3.0"),
    ("exponent", "Content-Length: 3e0"),
    ("digits of another script", "Content-Length: \u{0663}"),
    ("nul", "Content-Length: 3\0"),
    ("line before", "X: x\nContent-Length: 3"),
    ("comment", "Content-Length: 3;a=b"),
    ("nominated", "Content-Length: 3\r\nConnection: content-length"),
];

/// Shapes of chunks, after a head that states them.
const CHUNKS: &[(&str, &str, Becomes)] = &[
    ("extension", "3;a=b\r\nabc\r\n0\r\n\r\n", Settled("abc")),
    ("extension in quotes", "3;a=\"b\"\r\nabc\r\n0\r\n\r\n", Settled("abc")),
    ("extension with a line end", "3;a\nabc\r\n0\r\n\r\n", Refused),
    ("extension with a quoted line", "3;a=\"\r\nabc\r\n0\r\n\r\n", Settled("abc")),
    ("bare line ends", "3\nabc\n0\n\n", Refused),
    ("bare carriage return", "3\rabc\r0\r\r", Refused),
    ("no line end after the data", "3\r\nabc0\r\n\r\n", Refused),
    ("other bytes after the data", "3\r\nabcXX0\r\n\r\n", Refused),
    ("more data than stated", "3\r\nabcdef\r\n0\r\n\r\n", Refused),
    ("hexadecimal prefix", "0x3\r\nabc\r\n0\r\n\r\n", Refused),
    ("plus", "+3\r\nabc\r\n0\r\n\r\n", Refused),
    ("minus", "-3\r\nabc\r\n0\r\n\r\n", Refused),
    ("underscore", "1_0\r\nabc\r\n0\r\n\r\n", Refused),
    ("space before", " 3\r\nabc\r\n0\r\n\r\n", Refused),
    ("space after", "3 \r\nabc\r\n0\r\n\r\n", Settled("abc")),
    ("overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n", Refused),
    ("zeros before", "00000003\r\nabc\r\n0\r\n\r\n", Settled("abc")),
    ("empty size", "\r\nabc\r\n0\r\n\r\n", Refused),
    ("no digits", "x\r\nabc\r\n0\r\n\r\n", Refused),
    ("ended by a line", "3\r\nabc\r\n0\r\n\n", Settled("abc")),
    ("zeros at the end", "3\r\nabc\r\n000\r\n\r\n", Settled("abc")),
    ("trailer that is a length", "3\r\nabc\r\n0\r\ncontent-length: 40\r\n\r\n", Settled("abc")),
    ("trailer that is a coding", "3\r\nabc\r\n0\r\ntransfer-encoding: chunked\r\n\r\n", Settled("abc")),
    ("trailer that is a host", "3\r\nabc\r\n0\r\nhost: b\r\n\r\n", Settled("abc")),
    ("trailer without a colon", "3\r\nabc\r\n0\r\nx\r\n\r\n", Refused),
];

/// Whole heads, some of them with what follows.
const HEADS: &[(&str, &str, Becomes)] = &[
    ("body of a GET", "GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", Settled("abc")),
    ("length of none", "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", Settled("")),
    (
        "coding of HTTP/1.0",
        "POST /a HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    ("folded field", "GET /a HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", Refused),
    ("folded first field", "GET /a HTTP/1.1\r\n x: a\r\nhost: a\r\n\r\n", Refused),
    ("space before the colon", "GET /a HTTP/1.1\r\nhost: a\r\nx : a\r\n\r\n", Refused),
    ("no name", "GET /a HTTP/1.1\r\nhost: a\r\n: a\r\n\r\n", Refused),
    ("no colon", "GET /a HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", Refused),
    ("name in brackets", "GET /a HTTP/1.1\r\nhost: a\r\n[x]: a\r\n\r\n", Refused),
    ("nul in a name", "GET /a HTTP/1.1\r\nhost: a\r\nx\0: a\r\n\r\n", Refused),
    ("nul in a value", "GET /a HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", Refused),
    (
        "carriage return in a value",
        "GET /a HTTP/1.1\r\nhost: a\r\nx: a\rGET /smuggled HTTP/1.1\r\n\r\n",
        Refused,
    ),
    ("bare line ends", "GET /a HTTP/1.1\nhost: a\n\n", Settled("")),
    ("one bare line end", "GET /a HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", Settled("")),
    ("bare end of the head", "GET /a HTTP/1.1\r\nhost: a\r\n\n", Settled("")),
    ("empty line first", "\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n", Settled("")),
    ("two spaces", "GET  /a HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("tab for a space", "GET\t/a\tHTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("space at the end", "GET /a HTTP/1.1 \r\nhost: a\r\n\r\n", Refused),
    ("space in the target", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("no version", "GET /a\r\nhost: a\r\n\r\n", Refused),
    ("version to come", "GET /a HTTP/3.0\r\nhost: a\r\n\r\n", Refused),
    ("two digits", "GET /a HTTP/1.10\r\nhost: a\r\n\r\n", Refused),
    ("small letters", "GET /a http/1.1\r\nhost: a\r\n\r\n", Refused),
    ("fragment", "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", Settled("")),
    ("target of another kind", "GET a HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("user in the target", "GET http://b@a/ HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("other host in the target", "GET http://b/a HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("two hosts", "GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", Refused),
    ("two hosts, one with a space", "GET /a HTTP/1.1\r\nhost: a\r\nhost : b\r\n\r\n", Refused),
    ("list of hosts", "GET /a HTTP/1.1\r\nhost: a, b\r\n\r\n", Refused),
    ("host with a path", "GET /a HTTP/1.1\r\nhost: a/b\r\n\r\n", Refused),
    ("host with a user", "GET /a HTTP/1.1\r\nhost: b@a\r\n\r\n", Refused),
    ("host with a tab", "GET /a HTTP/1.1\r\nhost: a\tb\r\n\r\n", Refused),
    ("no host", "GET /a HTTP/1.1\r\nconnection: close\r\n\r\n", Refused),
    (
        "connection names the host",
        "GET /a HTTP/1.1\r\nhost: a\r\nconnection: host, close\r\n\r\n",
        Settled(""),
    ),
    ("tunnel", "CONNECT b:80 HTTP/1.1\r\nhost: b:80\r\n\r\n", Refused),
    (
        "upgrade to h2c with its settings",
        "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
        Settled(""),
    ),
    ("preface within", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", Refused),
    ("dot segments", "GET /a/../../b HTTP/1.1\r\nhost: a\r\n\r\n", Requests(&["/b"])),
    ("escaped dot segments", "GET /a/%2e%2e/%2e%2e/b HTTP/1.1\r\nhost: a\r\n\r\n", Requests(&["/b"])),
    ("escaped slash", "GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("escaped backslash", "GET /a%5cb HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("backslash", "GET /a\\..\\b HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("escaped nul", "GET /a%00b HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    ("escaped line end", "GET /a%0d%0ax:%20b HTTP/1.1\r\nhost: a\r\n\r\n", Settled("")),
    ("half an escape", "GET /a%2 HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
    (
        "pipelined",
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
        Requests(&["/1", "/2"]),
    ),
    (
        "body and then another",
        "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
        Requests(&["/1", "/2"]),
    ),
    (
        "an expectation that is none",
        "POST /1 HTTP/1.1\r\nhost: a\r\nexpect: y 100-continue\r\ncontent-length: 3\r\n\r\nabc",
        Settled("abc"),
    ),
];

/// What a service got, and what the client was answered.
async fn pass(stage: &Stage, records: &std::sync::Mutex<Vec<Vec<u8>>>, bytes: &str) -> (Vec<u16>, Vec<Read>) {
    let before = records.lock().unwrap().len();
    let bytes: Vec<u8> = bytes.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    let answer = raw(stage.address(), &bytes, |_| false).await;
    let statuses = answer.match_indices("HTTP/1.1 ").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap());
    let statuses = statuses.collect();
    let records = records.lock().unwrap()[before..].to_vec();
    let got = records.iter().flat_map(|record| {
        strict::requests(record).unwrap_or_else(|why| panic!("{bytes:?} reached the service as {why}"))
    });
    (statuses, got.collect())
}

async fn stage() -> (Stage, std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>) {
    let (service, records) = recorder().await;
    (Stage::new(&["- /** -> recorder"]).await.with("recorder", service), records)
}

fn check(name: &str, becomes: Becomes, statuses: &[u16], got: &[Read]) {
    let targets: Vec<&str> = got.iter().map(|read| &*read.target).collect();
    assert!(!targets.iter().any(|target| target.contains("smuggled")), "{name}: {got:?}");
    let refused = !statuses.contains(&200)
        && statuses.iter().all(|status| (400..=501).contains(status))
        && got.is_empty();
    match becomes {
        Refused => assert!(refused, "{name}: {statuses:?} {got:?}"),
        Settled(body) => {
            let settled = matches!(got, [one] if one.body == body.as_bytes()) && statuses[0] == 200;
            assert!(refused || settled, "{name}: {statuses:?} {got:?}");
        }
        Requests(expected) => assert_eq!(targets, expected, "{name}: {statuses:?}"),
    }
}

#[tokio::test]
async fn a_length_and_a_coding_have_one_reading() {
    let (stage, records) = stage().await;
    for (name, field) in CODINGS {
        for order in ["length first", "length last"] {
            let length = "Content-Length: 4\r\n";
            let (before, after) = if order == "length first" { (length, "") } else { ("", length) };
            let bytes = format!(
                "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{before}{field}\r\n{after}\r\n0\r\n\r\n{NEXT}"
            );
            let (statuses, got) = pass(&stage, &records, &bytes).await;
            assert!(got.len() <= 1, "{name}, {order}: {got:?}");
            check(
                &format!("{name}, {order}"),
                Settled(got.first().map_or("", |read| match &read.body[..] {
                    b"" => "",
                    b"0\r\n\r" => "0\r\n\r",
                    body => panic!("{name}: {body:?}"),
                })),
                &statuses,
                &got,
            );
        }
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_length_has_one_reading() {
    let (stage, records) = stage().await;
    for (name, field) in LENGTHS {
        let bytes = format!("POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n\r\nabc{NEXT}");
        let (statuses, got) = pass(&stage, &records, &bytes).await;
        // Without a length that is one there is no body, and what follows is not read after `close`.
        let body = if got.iter().any(|read| read.body == b"abc") { "abc" } else { "" };
        check(name, Settled(body), &statuses, &got);
    }
    stage.stop().await;
}

#[tokio::test]
async fn chunks_have_one_reading() {
    let (stage, records) = stage().await;
    for (name, chunks, becomes) in CHUNKS {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (statuses, got) = pass(&stage, &records, &format!("{head}{chunks}{NEXT}")).await;
        // A head may have gone out before its body turns out to be bad: without its end it is no request.
        check(name, *becomes, &statuses, &got);
    }
    stage.stop().await;
}

#[tokio::test]
async fn heads_have_one_reading() {
    let (stage, records) = stage().await;
    for (name, bytes, becomes) in HEADS {
        let last = bytes.rfind("\r\nhost").or(bytes.rfind("\nhost")).unwrap_or(bytes.len());
        let end = bytes[last..].find(['\r', '\n']).map_or(bytes.len(), |_| last);
        // So that the gateway closes after what is asked, whatever it is.
        let line = if bytes.contains("\r\nhost") { "\r\nconnection: close" } else { "\nconnection: close" };
        let closing = match bytes.contains("connection:") || end == bytes.len() {
            true => (*bytes).to_owned(),
            false => format!("{}{line}{}", &bytes[..end], &bytes[end..]),
        };
        let (statuses, got) = pass(&stage, &records, &closing).await;
        check(name, *becomes, &statuses, &got);
    }
    stage.stop().await;
}
