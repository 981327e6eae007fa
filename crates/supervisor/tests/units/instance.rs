//! A service for tests, of the standard library alone: it answers every request on `PORT` with 200 and its
//! instance's id, once the delay in `READY_AFTER_MS` is over.

use std::{
    env,
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

fn main() {
    let delay = env::var("READY_AFTER_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    thread::sleep(Duration::from_millis(delay));
    let port: u16 = env::var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    println!("listening on {port}");
    let id = env::var("MADANG_INSTANCE").unwrap_or_default();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{id}", id.len());
        let _ = stream.write_all(answer.as_bytes());
    }
}
