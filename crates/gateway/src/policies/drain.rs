//! Reading to its end what nobody wants, so that its connection can be used again.

use std::{future::poll_fn, pin::Pin, task::Poll};

use http_body::Body as _;
use madang_calls::Body;

/// The most that is read, in bytes: a connection is worth no more.
const MOST: usize = 64 * 1024;

/// Reads a body and throws it away.
pub(crate) async fn drain(mut body: Body) {
    let mut left = MOST;
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) else {
                        return Poll::Ready(());
                    };
                    left = rest;
                }
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// Reads a body to its end if it is no longer than this; nothing if it is, or breaks off.
pub(crate) async fn whole(mut body: Body, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    if bytes.len() + data.len() > most {
                        return Poll::Ready(false);
                    }
                    bytes.extend_from_slice(data);
                }
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
            }
        }
    })
    .await
    .then_some(bytes)
}
