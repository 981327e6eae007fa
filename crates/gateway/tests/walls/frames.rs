//! Frames of HTTP/2 as bytes (RFC 9113, section 4.1), right ones and wrong ones.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// What must happen does so within this time.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// Fields as HPACK has them without a table and without Huffman's code (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        // A character stands for the byte of its number, so that fields need not be text.
        let text: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        match text.len() {
            short @ ..127 => bytes.push(short as u8),
            mut long => {
                bytes.push(127);
                long -= 127;
                while long >= 128 {
                    bytes.push((long % 128) as u8 | 128);
                    long /= 128;
                }
                bytes.push(long as u8);
            }
        }
        bytes.extend(text);
    };
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// The fields of a request that is as it should be, and more.
pub fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "a"), (":path", "/x")];
    fields.extend(more);
    block(&fields)
}

/// A whole request without a body.
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", &[]))
}

/// A connection to the gateway.
pub struct Peer {
    stream: TcpStream,
    came: Vec<u8>,
}

impl Peer {
    pub async fn connect(gateway: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(gateway).await.unwrap(), came: Vec::new() }
    }

    /// With the preface, and settings that change nothing.
    pub async fn greeting(gateway: SocketAddr) -> Self {
        let mut peer = Self::connect(gateway).await;
        peer.send(&[PREFACE, &settings(&[])].concat()).await;
        peer
    }

    /// Whether it could still be sent.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.is_ok_and(|sent| sent.is_ok())
    }

    /// The next frame; nothing once the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.parse() {
                return Some(frame);
            }
            let read =
                timeout(PATIENCE, self.stream.read_buf(&mut self.came)).await.expect("a frame or an end");
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
    }

    fn parse(&mut self) -> Option<Frame> {
        let head = self.came.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.came.get(9..9 + length)?.to_vec();
        self.came.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }
}

/// The number in the last four bytes of a frame that says why.
pub fn code(frame: &Frame) -> u32 {
    let at = if frame.kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}

/// The status in the head of an answer, if it is among those that HPACK has a number for (RFC 7541, appendix A).
pub fn status(frame: &Frame) -> Option<u16> {
    match frame.payload.first()? & 0x7f {
        8 => Some(200),
        12 => Some(400),
        13 => Some(404),
        14 => Some(500),
        _ => None,
    }
}
