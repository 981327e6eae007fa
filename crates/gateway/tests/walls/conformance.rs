//! RFC 9113, section by section: what is sent on a new connection, and what must come of it.

use crate::{
    frames::*,
    stage::{Stage, recorder},
};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

/// A frame of another length than its kind has: h2 says PROTOCOL_ERROR of most.
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];

/// What must come.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// The connection ends, with one of these codes if the client reads one.
    End(&'static [u32]),
    /// The stream ends with one of these codes, or the connection, which is always allowed (section 5.4).
    Reset(&'static [u32]),
    /// The request is malformed: its stream ends so, or it is answered 400 (section 8.1.1).
    Malformed,
    /// A request that follows on another stream is answered.
    Service,
    /// A frame of this kind that acknowledges.
    Acknowledged(u8),
}

use Comes::{Acknowledged, End, Malformed, Reset, Service};

type Case = (&'static str, &'static str, Vec<u8>, Comes);

fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", &[]))
}

fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", fields))
}

fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

fn posted(length: &str, parts: &[&[u8]]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, 1, &request("POST", &[("content-length", length)]));
    let last = parts.len() - 1;
    let data = parts
        .iter()
        .enumerate()
        .map(|(at, part)| frame(DATA, if at == last { END_STREAM } else { 0 }, 1, part));
    std::iter::once(head).chain(data).collect::<Vec<_>>().concat()
}

fn connections() -> Vec<Case> {
    let block_of = |stream| frame(HEADERS, END_STREAM, stream, &request("GET", &[]));
    vec![
        // The standard has the connection end here; h2 bears it.
        ("3.4", "the first frame is no SETTINGS", [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(), Service),
        ("4.1", "a frame of an unknown kind is ignored", frame(0xfe, 0xff, 0, b"anything"), Service),
        ("4.1", "a reserved bit is ignored", frame(PING, 0, 0x8000_0000, &[1; 8]), Acknowledged(PING)),
        (
            "4.2",
            "DATA is larger than may be",
            [open(1), frame(DATA, 0, 1, &[0; 16_385])].concat(),
            Reset(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.2",
            "HEADERS are larger than may be",
            frame(HEADERS, END_HEADERS, 1, &[0; 16_385]),
            End(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.3",
            "a block cannot be decoded",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]),
            End(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "4.3",
            "an index of no table",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe]),
            End(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "4.3",
            "another kind within a block",
            [block_of(1), frame(PRIORITY, 0, 1, &[0; 5])].concat(),
            End(&[PROTOCOL_ERROR]),
        ),
        ("4.3", "another stream within a block", [block_of(1), get(3)].concat(), End(&[PROTOCOL_ERROR])),
        (
            "5.5",
            "an unknown kind within a block",
            [block_of(1), frame(0xfe, 0, 0, b"")].concat(),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1",
            "DATA on an idle stream",
            frame(DATA, END_STREAM, 1, b"x"),
            End(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        ("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), End(&[PROTOCOL_ERROR])),
        (
            "5.1",
            "WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1",
            "CONTINUATION on an idle stream",
            frame(CONTINUATION, END_HEADERS, 1, &request("GET", &[])),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1",
            "DATA after the end of a stream",
            [get(1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Reset(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "5.1",
            "HEADERS after the end of a stream",
            [get(1), get(1)].concat(),
            Reset(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        ("5.1.1", "a stream of an even number", get(2), End(&[PROTOCOL_ERROR])),
        (
            "5.1.1",
            "a stream of a smaller number",
            [get(5), get(3)].concat(),
            End(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "5.1.2",
            "more streams than may be",
            (0..140).flat_map(|at| open(2 * at + 1)).collect(),
            Reset(&[REFUSED_STREAM, PROTOCOL_ERROR]),
        ),
        ("6.1", "DATA of the connection", frame(DATA, 0, 0, b"x"), End(&[PROTOCOL_ERROR])),
        (
            "6.1",
            "DATA of padding only, and more",
            [open(1), frame(DATA, PADDED, 1, &[9, 0, 0])].concat(),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2",
            "HEADERS of the connection",
            frame(HEADERS, END_HEADERS | END_STREAM, 0, &request("GET", &[])),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2",
            "HEADERS of padding only, and more",
            frame(HEADERS, PADDED | END_HEADERS, 1, &[200, 0, 0]),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3",
            "PRIORITY of the connection",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 1]),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3",
            "PRIORITY of another length",
            [open(1), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
            Reset(SIZE),
        ),
        ("6.3", "PRIORITY on an idle stream is ignored", frame(PRIORITY, 0, 9, &[0, 0, 0, 3, 1]), Service),
        ("6.4", "RST_STREAM of the connection", frame(RST_STREAM, 0, 0, &[0; 4]), End(&[PROTOCOL_ERROR])),
        (
            "6.4",
            "RST_STREAM of another length",
            [open(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            End(SIZE),
        ),
        ("6.5", "SETTINGS are acknowledged", settings(&[]), Acknowledged(SETTINGS)),
        ("6.5", "an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), End(SIZE)),
        ("6.5", "SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), End(&[PROTOCOL_ERROR])),
        ("6.5", "SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 5]), End(SIZE)),
        ("6.5.2", "ENABLE_PUSH of 2", settings(&[(2, 2)]), End(&[PROTOCOL_ERROR])),
        (
            "6.5.2",
            "a window that is too large",
            settings(&[(4, 0x8000_0000)]),
            End(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        ("6.5.2", "frames that are too small", settings(&[(5, 16_383)]), End(&[PROTOCOL_ERROR])),
        ("6.5.2", "frames that are too large", settings(&[(5, 0x0100_0000)]), End(&[PROTOCOL_ERROR])),
        ("6.5.2", "an unknown setting is ignored", settings(&[(0xfefe, 7)]), Service),
        (
            "6.6",
            "PUSH_PROMISE of a client",
            [
                open(1),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &request("GET", &[])].concat()),
            ]
            .concat(),
            End(&[PROTOCOL_ERROR]),
        ),
        ("6.7", "PING is acknowledged", frame(PING, 0, 0, b"12345678"), Acknowledged(PING)),
        ("6.7", "PING of a stream", frame(PING, 0, 1, &[0; 8]), End(&[PROTOCOL_ERROR])),
        ("6.7", "PING of another length", frame(PING, 0, 0, &[0; 6]), End(SIZE)),
        ("6.8", "GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), End(&[PROTOCOL_ERROR])),
        ("6.9", "WINDOW_UPDATE by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), End(&[PROTOCOL_ERROR])),
        (
            "6.9",
            "WINDOW_UPDATE of a stream by nothing",
            [open(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
            Reset(&[PROTOCOL_ERROR]),
        ),
        ("6.9", "WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), End(SIZE)),
        (
            "6.9.1",
            "a window beyond its bound",
            [
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
            End(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.9.1",
            "a stream's window beyond its bound",
            [open(1), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat(),
            Reset(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.10",
            "CONTINUATION of the connection",
            [block_of(1), frame(CONTINUATION, END_HEADERS, 0, b"")].concat(),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10",
            "CONTINUATION after the end of a block",
            [open(1), frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]))].concat(),
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10",
            "CONTINUATION after DATA",
            [open(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            End(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn messages() -> Vec<Case> {
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];
    let without = |name: &str| only(&usual.iter().copied().filter(|(it, _)| *it != name).collect::<Vec<_>>());
    let trailers = |fields: &[(&str, &str)], flags| {
        [open(1), frame(HEADERS, END_HEADERS | flags, 1, &block(fields))].concat()
    };
    let mut late = vec![("x", "y")];
    late.extend(usual);
    vec![
        ("8.1", "trailers that do not end the stream", trailers(&[("x", "y")], 0), Malformed),
        ("8.1.1", "DATA of another length", posted("1", &[b"two"]), Malformed),
        ("8.1.1", "DATA in parts of another length", posted("5", &[b"two", b"two"]), Malformed),
        ("8.1.1", "less DATA than stated", posted("5", &[b"two"]), Malformed),
        (
            "8.1.1",
            "no DATA at all",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("POST", &[("content-length", "5")])),
            Malformed,
        ),
        (
            "8.1.1",
            "two lengths",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &request("POST", &[("content-length", "0"), ("content-length", "5")]),
            ),
            Malformed,
        ),
        ("8.1.1", "a length with a sign", posted("+3", &[b"two"]), Malformed),
        ("8.2", "a name in capitals", with(&[("X-Capital", "y")]), Malformed),
        ("8.2", "a name with a line end", with(&[("x\r\ny", "z")]), Malformed),
        ("8.2", "a name with a blank", with(&[("x y", "z")]), Malformed),
        ("8.2", "a name with a colon", with(&[("x:y", "z")]), Malformed),
        ("8.2", "a name of nothing", with(&[("", "z")]), Malformed),
        ("8.2", "a value with a line end", with(&[("x", "y\r\nz: 1")]), Malformed),
        ("8.2", "a value with a line feed", with(&[("x", "y\nz: 1")]), Malformed),
        ("8.2", "a value with a carriage return", with(&[("x", "y\rz")]), Malformed),
        ("8.2", "a value with a nul", with(&[("x", "y\0z")]), Malformed),
        ("8.2.2", "connection", with(&[("connection", "close")]), Malformed),
        ("8.2.2", "keep-alive", with(&[("keep-alive", "timeout=5")]), Malformed),
        ("8.2.2", "proxy-connection", with(&[("proxy-connection", "close")]), Malformed),
        ("8.2.2", "transfer-encoding", with(&[("transfer-encoding", "chunked")]), Malformed),
        ("8.2.2", "upgrade", with(&[("upgrade", "websocket")]), Malformed),
        ("8.2.2", "te of something else", with(&[("te", "gzip")]), Malformed),
        ("8.3", "an unknown pseudo-header", with(&[(":x", "y")]), Malformed),
        ("8.3", "a pseudo-header of answers", with(&[(":status", "200")]), Malformed),
        ("8.3", "pseudo-headers after others", only(&late), Malformed),
        // RFC 9113 has it malformed too; h2 leaves it out, and no service sees it.
        ("8.3", "a pseudo-header in trailers", trailers(&[(":method", "GET")], END_STREAM), Service),
        ("8.3.1", "no method", without(":method"), Malformed),
        ("8.3.1", "no scheme", without(":scheme"), Malformed),
        ("8.3.1", "no path", without(":path"), Malformed),
        ("8.3.1", "two methods", with(&[(":method", "POST")]), Malformed),
        ("8.3.1", "two schemes", with(&[(":scheme", "http")]), Malformed),
        ("8.3.1", "two paths", with(&[(":path", "/smuggled")]), Malformed),
        ("8.3.1", "two authorities", with(&[(":authority", "b")]), Malformed),
        ("8.3.1", "an authority and another host", with(&[("host", "b")]), Malformed),
        ("8.3.1", "an empty path", only(&[usual[0], usual[1], usual[2], (":path", "")]), Malformed),
        ("8.3.1", "a path without a slash", only(&[usual[0], usual[1], usual[2], (":path", "x")]), Malformed),
        (
            "8.3.1",
            "a path with a line end",
            only(&[usual[0], usual[1], usual[2], (":path", "/x HTTP/1.1\r\nhost: b\r\n\r\nGET /smuggled")]),
            Malformed,
        ),
        (
            "8.3.1",
            "a path with a blank",
            only(&[usual[0], usual[1], usual[2], (":path", "/x HTTP/1.1")]),
            Malformed,
        ),
        (
            "8.3.1",
            "a method with a line end",
            only(&[(":method", "GET /smuggled HTTP/1.1\r\nx: y"), usual[1], usual[2], usual[3]]),
            Malformed,
        ),
        (
            "8.3.1",
            "a method with a blank",
            only(&[(":method", "GET /smuggled"), usual[1], usual[2], usual[3]]),
            Malformed,
        ),
        (
            "8.3.1",
            "an authority with a line end",
            only(&[usual[0], usual[1], (":authority", "a\r\nx: y"), usual[3]]),
            Malformed,
        ),
        (
            "8.3.1",
            "an authority with a user",
            only(&[usual[0], usual[1], (":authority", "u@a"), usual[3]]),
            Malformed,
        ),
        (
            "8.3.1",
            "an authority with a path",
            only(&[usual[0], usual[1], (":authority", "a/b"), usual[3]]),
            Malformed,
        ),
        (
            "8.3.1",
            "a scheme with a target",
            only(&[usual[0], (":scheme", "http://b/smuggled?"), usual[2], usual[3]]),
            Malformed,
        ),
        (
            "8.3.1",
            "https without TLS",
            only(&[usual[0], (":scheme", "https"), usual[2], usual[3]]),
            Malformed,
        ),
        (
            "8.5",
            "CONNECT with a path",
            only(&[(":method", "CONNECT"), usual[1], usual[2], usual[3]]),
            Malformed,
        ),
    ]
}

/// What comes, read until it is clear; `service` is a stream on which a request follows.
async fn comes(stage: &Stage, bytes: &[u8]) -> (Vec<Frame>, bool) {
    let mut peer = match bytes.starts_with(PREFACE) {
        true => Peer::connect(stage.address()).await,
        false => Peer::greeting(stage.address()).await,
    };
    peer.send(bytes).await;
    // Whatever it was, this one is asked after it; its answer is the end of the story if the connection goes on.
    peer.send(&get(2_001)).await;
    let mut frames = Vec::new();
    while let Some(frame) = peer.next().await {
        let over = frame.stream == 2_001 && matches!(frame.kind, HEADERS | RST_STREAM);
        frames.push(frame);
        if over {
            return (frames, false);
        }
    }
    (frames, true)
}

fn fits(comes: Comes, frames: &[Frame], ended: bool) -> bool {
    let goaway = |codes: &[u32]| frames.iter().all(|it| it.kind != GOAWAY || codes.contains(&code(it)));
    let reset = |codes: &[u32]| {
        frames.iter().any(|it| it.kind == RST_STREAM && it.stream != 2_001 && codes.contains(&code(it)))
    };
    match comes {
        End(codes) => ended && goaway(codes),
        Reset(codes) => reset(codes) || ended && goaway(codes),
        Malformed => {
            let refused =
                |it: &Frame| it.kind == HEADERS && it.stream == 1 && matches!(status(it), Some(400) | None);
            reset(&[PROTOCOL_ERROR]) || frames.iter().any(refused) || ended && goaway(&[PROTOCOL_ERROR])
        }
        Service => !ended && frames.iter().any(|it| it.kind == HEADERS && status(it) == Some(200)),
        Acknowledged(kind) => frames.iter().any(|it| it.kind == kind && it.flags & ACK != 0),
    }
}

async fn hold(cases: Vec<Case>) {
    let (service, records) = recorder().await;
    let stage = Stage::new(&["- /** -> recorder"]).await.with("recorder", service);
    let mut failed = Vec::new();
    for (section, name, bytes, expected) in cases {
        let before = records.lock().unwrap().len();
        let (frames, ended) = comes(&stage, &bytes).await;
        if !fits(expected, &frames, ended) {
            let seen: Vec<_> =
                frames.iter().map(|it| (it.kind, it.flags, it.stream, it.payload.clone())).collect();
            failed.push(format!("{section} {name}: expected {expected:?}, ended: {ended}, came {seen:?}"));
        }
        if matches!(expected, Malformed) {
            let all = String::from_utf8_lossy(&records.lock().unwrap()[before..].concat()).into_owned();
            assert!(!all.contains("smuggled"), "{section} {name}: {all:?}");
        }
        for record in &records.lock().unwrap()[before..] {
            if let Err(why) = crate::strict::requests(record) {
                failed.push(format!("{section} {name}: reached the service as {why}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    stage.stop().await;
}

#[tokio::test]
async fn a_connection_of_http2_is_held_to_the_standard() {
    hold(connections()).await;
}

#[tokio::test]
async fn a_message_over_http2_is_held_to_the_standard() {
    hold(messages()).await;
}
