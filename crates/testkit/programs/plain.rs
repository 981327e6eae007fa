//! A service for tests, of the standard library alone and with nothing on the disk: it answers every request on
//! `PORT` with its instance's id, and says which path was asked for.

use std::{
    env,
    io::{Read, Write, stdout},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() {
    let port: u16 = env::var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) {
    let id = env::var("MADANG_INSTANCE").unwrap_or_default();
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..read]);
        while let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            request.drain(..end + 4);
            let path = head.split(' ').nth(1).unwrap_or_default();
            // A log that cannot be written is no reason not to answer.
            let _ = stdout().write_all(format!("GET {path}\n").as_bytes());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{id}", id.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
