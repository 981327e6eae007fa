//! A WebSocket as a browser opens it: over TLS, through the gateway, to a service.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use madang_testkit::{Chromium, Placement, Prepared};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What says what it hears, and that it is over.
const PAGE: &str = r#"<!doctype html><title>waits</title><script>
    const socket = new WebSocket(`wss://${location.host}/echo`);
    socket.onopen = () => socket.send("hello from a browser");
    socket.onmessage = (message) => document.title = message.data;
    socket.onclose = (close) => document.title = `closed ${close.code} ${close.wasClean}`;
</script>"#;

/// A message of the protocol, such as a browser sends it (RFC 6455, section 5.2): its kind and its bytes.
async fn message(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[1] & 0x7f);
    assert!(head[1] & 0x80 != 0 && length < 126, "masked, and short");
    let (mut mask, mut bytes) = ([0; 4], vec![0; length]);
    stream.read_exact(&mut mask).await.ok()?;
    stream.read_exact(&mut bytes).await.ok()?;
    bytes.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0] & 0x0f, bytes))
}

/// A service that has the page, and sends back what it hears elsewhere.
async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let Some(key) = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")) else {
        let length = PAGE.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{PAGE}"
        );
        return stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let hashed =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let accept = STANDARD.encode(hashed);
    let switched = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(switched.as_bytes()).await.unwrap();
    while let Some((kind, bytes)) = message(&mut stream).await {
        let head = [0x80 | kind, u8::try_from(bytes.len()).unwrap()];
        let _ = stream.write_all(&[&head, &bytes[..]].concat()).await;
        if kind == 8 {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_opens_a_websocket_through_the_gateway_over_tls() {
    let manifest = format!(
        "[gateway]\nlisten = \"127.0.0.1:{{gateway}}\"\n[gateway.tls]\ndevelopment = true\n\
         [services.echo]\nurl = \"http://{}\"\nroutes = [\"/**\"]\n",
        service().await
    );
    let system = Prepared::with(&manifest).start(Placement::Processes).await;
    let browser = Chromium::start().await;
    let page = browser.page().await;
    page.believe_anybody().await;
    assert_eq!(page.open(&format!("https://{}/", system.gateway_address())).await, 200);
    page.until("document.title === 'hello from a browser'").await;
    assert_eq!(page.eval("performance.getEntriesByType('navigation')[0].nextHopProtocol").await, "h2");

    // A change of routes is in force, and the page does not notice.
    system.edit("madang.toml", "\"/**\"", "\"/echo/**\"");
    while page.eval("fetch('/').then((answer) => answer.status)").await != 404 {
        tokio::task::yield_now().await;
    }
    page.eval("socket.send('still here')").await;
    page.until("document.title === 'still here'").await;
    page.eval("socket.close(1000)").await;
    page.until("document.title === 'closed 1000 true'").await;
}
