//! The body of a request, given to each attempt anew: what went out is kept while it is small.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::{Body, BoxError, exchange::Exchange, hop};

/// How many bytes of a body are kept for another attempt; one that is longer is sent once and whole.
pub(crate) const KEPT: usize = 64 * 1024;

/// The body of a request.
pub(crate) struct Upload {
    source: Source,
    /// Whether its length was not known before it began.
    streaming: bool,
    started: Instant,
    /// Microseconds from the start to the last frame.
    last: AtomicU64,
    ended: AtomicBool,
    failed: AtomicBool,
    /// How large it may be, if it turned out to be larger; 0 if it did not.
    too_large: AtomicU64,
    /// Whether the current attempt waits for the caller to send more.
    awaited: AtomicBool,
}

enum Source {
    Whole(Bytes),
    Stream(Box<Mutex<Stream>>),
}

struct Stream {
    rest: Body,
    hint: SizeHint,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Whether all that was taken from `rest` is kept.
    whole: bool,
    /// The number of the attempt that may read; an earlier one may not even if its connection still asks. 0: none.
    reader: u32,
    /// Who waits for more of it.
    waiting: Option<Waker>,
}

enum Kept {
    Bytes(Bytes),
    Trailers(HeaderMap),
}

/// How far a body of unknown length has come.
pub(crate) struct Progress {
    pub(crate) last: Instant,
    pub(crate) ended: bool,
}

/// A request's body as one attempt sends it.
pub(crate) struct Sending {
    exchange: Arc<Exchange>,
    reader: u32,
    position: usize,
    sent: u64,
}

/// Why a body breaks off that is larger than it may be: the call ends with [`CallError::TooLarge`].
///
/// [`CallError::TooLarge`]: crate::CallError::TooLarge
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of the request has more than the {limit} bytes that it may have")]
pub struct TooLarge {
    /// The most, in bytes.
    pub limit: u64,
}

/// The attempt is over, be it for another one. To HTTP/2 its stream is cancelled.
#[derive(Debug, thiserror::Error)]
#[error("the attempt that sent the request's body is over")]
struct Over(#[source] h2::Error);

// === impl Upload ===

impl Upload {
    pub(crate) fn new(mut body: Body, started: Instant) -> Self {
        let streaming = !body.is_end_stream() && body.size_hint().exact().is_none();
        let (source, ended) = match body.take_whole() {
            Some(bytes) => (Source::Whole(bytes), true),
            None => (Source::Stream(Box::new(Mutex::new(Stream::new(body)))), false),
        };
        Self {
            source,
            streaming,
            started,
            last: AtomicU64::new(0),
            ended: AtomicBool::new(ended),
            failed: AtomicBool::new(false),
            too_large: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        }
    }

    /// The body for the attempt of this number, which begins; earlier attempts get no more of it.
    pub(crate) fn send(exchange: &Arc<Exchange>, attempt: u32) -> Body {
        match &exchange.upload.source {
            Source::Whole(bytes) => bytes.clone().into(),
            Source::Stream(stream) => {
                let mut stream = lock(stream);
                stream.reader = attempt;
                exchange.upload.ended.store(false, Release);
                exchange.upload.awaited.store(false, Relaxed);
                Body::sending(Sending { exchange: exchange.clone(), reader: attempt, position: 0, sent: 0 })
            }
        }
    }

    /// The attempt of this number is over: it gets no more of it, and hears so at once.
    pub(crate) fn abandon(&self, attempt: u32) {
        if let Source::Stream(stream) = &self.source
            && !self.ended()
        {
            let mut stream = lock(stream);
            if stream.reader == attempt {
                stream.reader = 0;
                if let Some(waiting) = stream.waiting.take() {
                    waiting.wake();
                }
            }
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.source, Source::Whole(bytes) if bytes.is_empty())
    }

    /// Whether another attempt can send the whole body.
    pub(crate) fn repeatable(&self) -> bool {
        match &self.source {
            Source::Whole(_) => true,
            Source::Stream(stream) => lock(stream).whole,
        }
    }

    /// Whether the current attempt took the body to its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Whether the caller's body broke off.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Acquire)
    }

    /// That it is larger than it may be, if it is.
    pub(crate) fn too_large(&self) -> Option<TooLarge> {
        Some(TooLarge { limit: self.too_large.load(Acquire) }).filter(|it| it.limit > 0)
    }

    /// Whether it is the caller that everybody waits for, now that the time is over; the body has then failed.
    pub(crate) fn stalled(&self) -> bool {
        let stalled = self.awaited.load(Relaxed);
        if stalled {
            self.failed.store(true, Release);
        }
        stalled
    }

    /// How far it has come, if its length is unknown.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.streaming.then(|| {
            // Read before `last`, which is therefore not from before the end.
            let ended = self.ended();
            Progress { last: self.started + Duration::from_micros(self.last.load(Relaxed)), ended }
        })
    }

    fn progressed(&self, ended: bool) {
        if self.streaming {
            self.last.store(self.started.elapsed().as_micros() as u64, Relaxed);
        }
        if ended {
            self.ended.store(true, Release);
        }
    }
}

// === impl Stream ===

impl Stream {
    fn new(rest: Body) -> Self {
        let hint = rest.size_hint();
        Self { rest, hint, kept: VecDeque::new(), kept_bytes: 0, whole: true, reader: 0, waiting: None }
    }

    /// Keeps a frame for the next attempt, or gives up keeping any.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.whole {
            return;
        }
        if let Some(bytes) = frame.data_ref() {
            self.kept_bytes += bytes.len();
            self.kept.push_back(Kept::Bytes(bytes.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            self.kept.push_back(Kept::Trailers(trailers.clone()));
        }
        if self.kept_bytes > KEPT {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.whole = false;
        self.kept = VecDeque::new();
    }
}

// === impl Sending ===

impl Sending {
    fn stream(&self) -> MutexGuard<'_, Stream> {
        match &self.exchange.upload.source {
            Source::Stream(stream) => lock(stream),
            Source::Whole(_) => unreachable!("only a stream is sent by frames"),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let exchange = self.exchange.clone();
        let mut stream = self.stream();
        if stream.reader != self.reader {
            return Poll::Ready(Some(Err(Over(h2::Reason::CANCEL.into()).into())));
        }
        let (mut polled, repeated) = match stream.kept.get(self.position) {
            Some(Kept::Bytes(bytes)) => (Some(Ok(Frame::data(bytes.clone()))), true),
            Some(Kept::Trailers(trailers)) => (Some(Ok(Frame::trailers(trailers.clone()))), true),
            None => {
                let polled = Pin::new(&mut stream.rest).poll_frame(cx);
                exchange.upload.awaited.store(polled.is_pending(), Relaxed);
                stream.waiting = polled.is_pending().then(|| cx.waker().clone());
                (std::task::ready!(polled), false)
            }
        };
        match &mut polled {
            Some(Ok(frame)) if !repeated => {
                if let Some(trailers) = frame.trailers_mut() {
                    hop::end_to_end_trailers(trailers);
                }
                stream.keep(frame);
            }
            Some(Err(error)) => {
                stream.give_up();
                if let Some(TooLarge { limit }) = error.downcast_ref() {
                    exchange.upload.too_large.store(*limit, Release);
                }
                exchange.upload.failed.store(true, Release);
            }
            _ => {}
        }
        let ended =
            polled.is_none() || (stream.rest.is_end_stream() && self.position + 1 >= stream.kept.len());
        drop(stream);
        exchange.upload.progressed(ended);
        if let Some(Ok(frame)) = &polled {
            self.position += 1;
            self.sent += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        }
        Poll::Ready(polled)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let stream = self.stream();
        self.position >= stream.kept.len() && stream.rest.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let stream = self.stream();
        let mut hint = SizeHint::new();
        hint.set_lower(stream.hint.lower().saturating_sub(self.sent));
        if let Some(upper) = stream.hint.upper() {
            hint.set_upper(upper.saturating_sub(self.sent));
        }
        hint
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    // Only one attempt reads; a panic of the body given to us leaves it as it was.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;

    use super::*;
    use crate::{Policy, testing::Bench};

    fn exchange(frames: Vec<Frame<Bytes>>) -> Arc<Exchange> {
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok::<_, BoxError>));
        let body = Body::new(StreamBody::new(frames));
        Bench::new(Policy::default()).call(Request::new(body)).exchange
    }

    fn parts(lengths: &[usize]) -> (Vec<Frame<Bytes>>, Vec<u8>) {
        let part = |(n, length): (usize, &usize)| vec![n as u8; *length];
        let parts: Vec<_> = lengths.iter().enumerate().map(part).collect();
        let whole = parts.concat();
        (parts.into_iter().map(|part| Frame::data(part.into())).collect(), whole)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(test);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However far earlier attempts came, the next sends the whole body, or it is known that it cannot.
        #[test]
        fn each_attempt_sends_the_whole_body_or_none_is_made(
            lengths in prop::collection::vec(1_usize..20_000, 1..12),
            read in prop::collection::vec(0_usize..14, 0..4),
        ) {
            run(async {
                let (frames, whole) = parts(&lengths);
                let exchange = exchange(frames);
                for (attempt, frames) in (1..).zip(read) {
                    let mut sending = Upload::send(&exchange, attempt);
                    for _ in 0..frames {
                        let _ = sending.frame().await;
                    }
                    let taken: usize = lengths.iter().take(frames).sum();
                    if !exchange.upload.repeatable() {
                        assert!(taken > KEPT, "{taken} bytes can be kept");
                        return;
                    }
                }
                assert!(exchange.upload.repeatable());
                let sent = Upload::send(&exchange, 9).collect().await.unwrap().to_bytes();
                assert!(sent == whole, "{} of {} bytes", sent.len(), whole.len());
                assert!(exchange.upload.ended());
            });
        }
    }

    #[test]
    fn an_earlier_attempt_gets_no_more_of_the_body() {
        run(async {
            let (frames, whole) = parts(&[3, 4, 5]);
            let exchange = exchange(frames);
            let mut first = Upload::send(&exchange, 1);
            first.frame().await.unwrap().unwrap();
            let second = Upload::send(&exchange, 2);
            exchange.upload.abandon(1);
            assert!(first.frame().await.unwrap().is_err());
            assert_eq!(second.collect().await.unwrap().to_bytes(), whole);
        });
    }

    #[test]
    fn an_attempt_that_is_over_hears_it_while_it_waits() {
        run(async {
            let (feed, mut fed) = tokio::sync::mpsc::unbounded_channel();
            let frames = futures_util::stream::poll_fn(move |cx| {
                fed.poll_recv(cx).map(|it| it.map(Ok::<_, BoxError>))
            });
            let body = Body::new(StreamBody::new(frames));
            let exchange = Bench::new(Policy::default()).call(Request::new(body)).exchange;
            let mut sending = Upload::send(&exchange, 1);
            feed.send(Frame::data("part".into())).unwrap();
            sending.frame().await.unwrap().unwrap();
            let waiting = tokio::spawn(async move { sending.frame().await });
            tokio::task::yield_now().await;
            exchange.upload.abandon(1);
            let error = waiting.await.unwrap().unwrap().unwrap_err();
            let reset =
                error.source().and_then(|it| it.downcast_ref::<h2::Error>()).and_then(h2::Error::reason);
            assert_eq!(reset, Some(h2::Reason::CANCEL));
            assert!(!exchange.upload.failed(), "its caller is not to blame");
            drop(feed);
        });
    }

    #[test]
    fn trailers_are_sent_again_too() {
        run(async {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            let exchange = exchange(vec![Frame::data("part".into()), Frame::trailers(trailers.clone())]);
            for attempt in 1..=2 {
                let sent = Upload::send(&exchange, attempt).collect().await.unwrap();
                assert_eq!(sent.trailers(), Some(&trailers));
            }
        });
    }

    #[test]
    fn trailers_say_nothing_that_a_head_may_not_say() {
        run(async {
            let mut trailers = HeaderMap::new();
            for name in ["x-sum", "madang-principal", "madang_principal", "x-forwarded-for", "host", "te"] {
                trailers.insert(name, "1".parse().unwrap());
            }
            let exchange = exchange(vec![Frame::data("part".into()), Frame::trailers(trailers)]);
            for attempt in 1..=2 {
                let sent = Upload::send(&exchange, attempt).collect().await.unwrap();
                assert_eq!(sent.trailers().unwrap().keys().collect::<Vec<_>>(), ["x-sum"]);
            }
        });
    }

    #[test]
    fn a_body_that_breaks_off_is_the_callers_failure_and_is_not_sent_again() {
        run(async {
            let frames = futures_util::stream::iter([Ok(Frame::data(Bytes::from("part"))), Err("gone")]);
            let request = Request::new(Body::new(StreamBody::new(frames)));
            let exchange = Bench::new(Policy::default()).call(request).exchange;
            assert!(Upload::send(&exchange, 1).collect().await.is_err());
            assert!(exchange.upload.failed() && !exchange.upload.repeatable());
        });
    }
}
