//! The stream of a connection, between the client and hyper.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connection;
use crate::unread;

/// The most that is written in one piece, in bytes.
const SMALL: usize = 1024;

/// A stream with the bytes that were read off it to see what it speaks.
pub(super) struct Sniffed<S> {
    pub(super) first: Bytes,
    pub(super) stream: S,
    /// Whose heads are timed. An HTTP/2 connection has frames of its own between requests; it is only idle.
    pub(super) heads: Option<Arc<Connection>>,
    /// What is left of the answer to a head that could not be read.
    pub(super) unread: Option<Bytes>,
}

// === impl Sniffed ===

/// Whose heads are timed, as long as there are heads.
fn reads_heads(heads: &Option<Arc<Connection>>) -> Option<&Arc<Connection>> {
    heads.as_ref().filter(|connection| !connection.tunnel.load(Relaxed))
}

impl<S: AsyncWrite + Unpin> Sniffed<S> {
    /// Sends a problem in place of what hyper writes although no answer is on its way: a bare refusal of a head.
    /// `None` if it writes an answer.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, bare: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let connection = reads_heads(&self.heads)?;
        if connection.answering.load(Relaxed) {
            return None;
        }
        let left = self.unread.get_or_insert_with(|| {
            let (status, answer) = unread::answer(bare);
            connection.worker.counters.answered(status);
            answer
        });
        while !left.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => left.advance(written),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(bare.len())))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(into.remaining());
            into.put_slice(&self.first[..count]);
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        let Some(connection) = reads_heads(&self.heads) else { return polled };
        if into.filled().len() > before {
            connection.bytes_came();
        } else if matches!(polled, Poll::Ready(Ok(()))) && into.remaining() > 0 && connection.is_waited_for()
        {
            // What comes next is told by the end of the answer, or by the worker, which looks after it.
            return Poll::Pending;
        } else if let Some(answer) = connection.lateness() {
            // Nothing is on its way to this client, so that there is room for all of it.
            let _ = Pin::new(&mut self.stream).poll_write(cx, &answer);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refused) = self.poll_refuse(cx, bytes) {
            return refused;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(refused) = self.poll_refuse(cx, parts.first().map_or(&[], |part| part)) {
            return refused;
        }
        if let [whole] = parts {
            return Pin::new(&mut self.stream).poll_write(cx, whole);
        }
        // Copying a head and a small body together costs less than a vectored write.
        let mut whole = [0; SMALL];
        let mut filled = 0;
        for part in parts {
            let Some(room) = whole.get_mut(filled..filled + part.len()) else {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
            };
            room.copy_from_slice(part);
            filled += part.len();
        }
        Pin::new(&mut self.stream).poll_write(cx, &whole[..filled])
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // Hyper flushes once it has nothing more to write: what has been answered is out.
        if flushed.is_ready()
            && let Some(connection) = &self.heads
        {
            if connection.in_flight.load(Relaxed) == 0 {
                connection.answering.store(false, Relaxed);
            }
            connection.took();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
