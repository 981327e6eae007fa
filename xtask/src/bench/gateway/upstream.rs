//! The service behind every proxy: it answers a path that is a number with as many bytes, as fast as can be.

use std::{io, net::SocketAddr};

use anyhow::Result;
use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Options of the upstream.
#[derive(Args)]
pub struct Options {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
}

/// Runs until it is killed.
pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Answers requests without a body, one after the other.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut answer = (0, Vec::new());
    let mut came = Vec::with_capacity(4096);
    loop {
        while let Some(end) = came.windows(4).position(|w| w == b"\r\n\r\n") {
            let size = size(&came[..end]);
            if answer.0 != size || answer.1.is_empty() {
                answer = (size, whole_answer(size));
            }
            came.drain(..end + 4);
            stream.write_all(&answer.1).await?;
        }
        if stream.read_buf(&mut came).await? == 0 {
            return Ok(());
        }
    }
}

fn whole_answer(size: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; size]].concat()
}

/// The number at the end of the request's path.
fn size(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head);
    let path = text.split(' ').nth(1).unwrap_or_default();
    path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
