//! A body that is compressed on its way.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body::Frame;
use madang_calls::{Body, BoxError};
use madang_model::edge::Coding;

/// How hard each tries, for an answer that is sent once: what costs little more than sending does.
const GZIP: u32 = 4;
const BROTLI: u32 = 4;
const ZSTD: i32 = 3;
/// The binary logarithm of how far back Brotli looks, in bytes.
const BROTLI_WINDOW: u32 = 18;
/// The most that Brotli holds back, in bytes.
const BROTLI_BUFFER: usize = 4096;

/// A body that is compressed on its way. What came is sent on as soon as nothing more is there.
pub(crate) struct Compressed {
    body: Body,
    encoder: Option<Encoder>,
    /// Whether something came that was not sent on.
    behind: bool,
    trailers: Option<Frame<Bytes>>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// It could not be made; nobody has seen that.
    Broken,
}

// === impl Compressed ===

impl Compressed {
    pub(crate) fn new(coding: Coding, body: Body) -> Self {
        Self { body, encoder: Some(Encoder::new(coding)), behind: false, trailers: None }
    }

    /// The rest, and then the trailers.
    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(encoder) = self.encoder.take() else { return Poll::Ready(self.trailers.take().map(Ok)) };
        Poll::Ready(Some(encoder.finish().map(|rest| Frame::data(rest.into())).map_err(BoxError::from)))
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let this = &mut *self;
            if this.encoder.is_none() {
                return this.finish();
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => {
                        let Some(encoder) = &mut this.encoder else { continue };
                        if let Err(error) = encoder.write(&bytes) {
                            return Poll::Ready(Some(Err(error.into())));
                        }
                        let out = encoder.taken();
                        this.behind = true;
                        if !out.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
                        }
                    }
                    Err(trailers) => {
                        this.trailers = Some(trailers);
                        return this.finish();
                    }
                },
                Poll::Ready(None) => return this.finish(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Pending if this.behind => {
                    this.behind = false;
                    let Some(encoder) = &mut this.encoder else { continue };
                    let out = encoder.flushed();
                    return match out {
                        Ok(out) if out.is_empty() => Poll::Pending,
                        out => {
                            Poll::Ready(Some(out.map(|out| Frame::data(out.into())).map_err(BoxError::from)))
                        }
                    };
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

// === impl Encoder ===

impl Encoder {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP))),
            Coding::Br => {
                let writer = CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI, BROTLI_WINDOW);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                zstd::stream::write::Encoder::new(Vec::new(), ZSTD).map_or(Self::Broken, Self::Zstd)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Broken => Err(broken()),
        }
    }

    /// What is ready.
    fn taken(&mut self) -> Vec<u8> {
        match self {
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Self::Brotli(encoder) => std::mem::take(encoder.get_mut()),
            Self::Zstd(encoder) => std::mem::take(encoder.get_mut()),
            Self::Broken => Vec::new(),
        }
    }

    /// All that came.
    fn flushed(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Broken => Err(broken()),
        }?;
        Ok(self.taken())
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Broken => Err(broken()),
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("no memory for a compressed answer")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures_util::FutureExt;
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    fn plain(coding: Coding, bytes: &[u8]) -> String {
        let mut text = String::new();
        let mut reader: Box<dyn Read + '_> = match coding {
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
            Coding::Br => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        };
        // What has not ended yet is read as far as it goes.
        let _ = reader.read_to_string(&mut text);
        text
    }

    fn channel() -> (mpsc::UnboundedSender<Frame<Bytes>>, Body) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let frames = futures_util::stream::poll_fn(move |cx| {
            receiver.poll_recv(cx).map(|it| it.map(Ok::<_, BoxError>))
        });
        (sender, Body::new(StreamBody::new(frames)))
    }

    #[tokio::test]
    async fn what_comes_out_is_what_went_in_with_its_trailers() {
        for coding in Coding::ALL {
            let (sender, body) = channel();
            let parts: Vec<String> = (0..50).map(|n| format!("part {n} ").repeat(500)).collect();
            for part in &parts {
                sender.send(Frame::data(part.clone().into())).unwrap();
            }
            let trailers: HeaderMap = [(http::header::ETAG, "\"1\"".parse().unwrap())].into_iter().collect();
            sender.send(Frame::trailers(trailers.clone())).unwrap();
            drop(sender);
            let collected = Compressed::new(coding, body).collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers));
            assert_eq!(plain(coding, &collected.to_bytes()), parts.concat(), "{coding:?}");
        }
    }

    #[tokio::test]
    async fn nothing_waits_for_more_to_come() {
        for coding in Coding::ALL {
            let (sender, body) = channel();
            let mut body = Compressed::new(coding, body);
            let mut came = Vec::new();
            for n in 1..=3 {
                sender.send(Frame::data(format!("line {n}\n").into())).unwrap();
                while let Some(frame) = body.frame().now_or_never() {
                    came.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
                }
                assert!(plain(coding, &came).ends_with(&format!("line {n}\n")), "{coding:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_breaks_off_does_not_end_well() {
        let frames = [Ok(Frame::data(Bytes::from("a"))), Err(BoxError::from("broken"))];
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        assert!(Compressed::new(Coding::Gzip, body).collect().await.is_err());
    }
}
