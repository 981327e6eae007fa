//! Failures made on purpose, as if the instance made them: the layers outside cannot tell.

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use madang_model::{
    InstanceId, ServiceName,
    policy::{Fault, FaultEffect},
};
use madang_wire::{Code, Problem};
use tokio::{task::yield_now, time::Instant};
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    context::later,
    exchange::{Call, Exchange, Target},
    names::FAULT,
};

/// How much of an answer is taken from the instance before it is lost; one that is longer is lost half-way.
const LOST: usize = 1 << 20;

/// Makes the failures that the policy asks for.
pub(crate) fn layer() -> FaultLayer {
    FaultLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct FaultLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Faulty<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Faulty`]: almost always that of the layer inside, without a box.
    #[project = FaultedProjection]
    pub(crate) enum Faulted<F> {
        Passed { #[pin] inner: F },
        Injected { injected: Pin<Box<dyn Future<Output = Answer> + Send>> },
    }
}

type Answer = Result<Response<Body>, CallError>;

/// Whether a fault answered in place of the instance, which heard nothing. It can be asked once: whoever hands the answer
/// on to its own caller has answered that one itself.
pub(crate) fn take_mark<B>(response: &mut Response<B>) -> bool {
    !response.extensions().is_empty() && response.extensions_mut().remove::<Injected>().is_some()
}

/// The mark of what a fault answered; a header could be anybody's.
#[derive(Clone, Copy)]
struct Injected;

/// Whoever can kill an instance, for faults that do.
pub trait Killer: Send + Sync {
    /// Kills the instance that this fault met, or the process that calls if it hosts the service itself. Called
    /// on the path of a request: it must not wait for anything.
    fn kill(&self, fault: &str, service: &ServiceName, instance: Option<&InstanceId>);
}

#[derive(Debug, thiserror::Error)]
#[error("the fault {0} lost the answer")]
struct Lost(Arc<str>);

// === impl Faulty ===

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty(inner)
    }
}

impl<S> Service<Call> for Faulty<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Faulted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match drawn(&call.exchange) {
            None => Faulted::Passed { inner: self.0.call(call) },
            Some((effect, name)) => {
                Faulted::Injected { injected: Box::pin(inject(self.0.clone(), call, effect, name)) }
            }
        }
    }
}

impl<F: Future<Output = Answer>> Future for Faulted<F> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project() {
            FaultedProjection::Passed { inner } => inner.poll(cx),
            FaultedProjection::Injected { injected } => injected.as_mut().poll(cx),
        }
    }
}

/// The first fault that meets this attempt, and what it is called.
fn drawn(exchange: &Exchange) -> Option<(FaultEffect, Arc<str>)> {
    let faults = &exchange.policy.faults;
    if faults.is_empty() {
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let meets = |fault: &&Fault| {
        fault.is_for(exchange.method.as_str(), exchange.uri.path(), now)
            && exchange.worker.random.below(100) < usize::from(fault.percent)
    };
    faults.iter().find(meets).map(|fault| (fault.effect, fault.name().into()))
}

async fn inject<S>(mut inner: S, call: Call, effect: FaultEffect, name: Arc<str>) -> Answer
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    let exchange = call.exchange.clone();
    exchange.trail.faulted(name.clone());
    match effect {
        FaultEffect::Delay(time) => {
            exchange.worker.timer.sleep_until(later(Instant::now(), time)).await;
            inner.call(call).await
        }
        FaultEffect::Status(status) => {
            begin(&call);
            Ok(injected(&exchange, status, &name))
        }
        FaultEffect::Hang => {
            begin(&call);
            // Its caller gives up, or its time runs out: then this is dropped.
            pending().await
        }
        FaultEffect::LoseReply => {
            taken_whole(inner.call(call).await?.into_body()).await;
            // It is no keep-alive that ran out, after which an attempt would not count.
            exchange.trail.sends(false);
            Err(CallError::Broken { service: exchange.upstream().name().clone(), source: Lost(name).into() })
        }
        FaultEffect::Kill => {
            let target = call.target.clone();
            let mut answering = pin!(inner.call(call));
            let early = on_its_way(&exchange, &mut answering).await;
            kill(&exchange, &name, target.as_ref());
            match early {
                Some(answer) => answer,
                None => answering.await,
            }
        }
    }
}

/// Counts an attempt that the hop never sees: the next one had better go to another instance.
fn begin(call: &Call) {
    if let Some(target) = &call.target {
        call.exchange.trail.begin(0, target);
    }
}

/// What is answered in place of the instance.
fn injected(exchange: &Exchange, status: u16, name: &str) -> Response<Body> {
    let detail = format!("the fault {name} answers in place of {}", exchange.upstream().name());
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let problem = Problem::new(Code::FAULT).with_status(status).detail(detail);
    let mut response = exchange.form().answer(problem, &exchange.context, None);
    let name = HeaderValue::from_str(name).unwrap_or(HeaderValue::from_static("fault"));
    response.headers_mut().insert(FAULT, name);
    response.extensions_mut().insert(Injected);
    response
}

async fn taken_whole(mut body: Body) {
    let mut taken = 0;
    while taken < LOST
        && let Some(Ok(frame)) = body.frame().await
    {
        taken += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Waits until the request has been given to a connection and that had a chance to write it, or until it is
/// answered.
async fn on_its_way(
    exchange: &Exchange,
    answering: &mut Pin<&mut impl Future<Output = Answer>>,
) -> Option<Answer> {
    let given = poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if exchange.trail.sent() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let early = given.await;
    // The connection is a task of its own, which was woken before this one.
    yield_now().await;
    early
}

fn kill(exchange: &Exchange, name: &str, target: Option<&Target>) {
    let instance = match target {
        Some(Target::Remote(endpoint)) => Some(&endpoint.instance),
        Some(Target::Local(_)) | None => None,
    };
    let upstream = exchange.upstream();
    match upstream.killer.get() {
        Some(killer) => killer.kill(name, upstream.name(), instance),
        None => tracing::warn!(fault = name, service = %upstream.name(), "nobody here can kill an instance"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
        time::Duration,
    };

    use http::Request;
    use tower::service_fn;

    use super::*;
    use crate::{
        Context as CallContext, Deadline, Policy, deadline, record, retry,
        testing::{Bench, status},
        timer::STEP,
    };

    fn fault(effect: FaultEffect) -> Fault {
        Fault { id: "f7".to_owned(), method: None, path: None, effect, percent: 100, until: None }
    }

    fn bench(fault: Fault) -> Bench {
        Bench::new(Policy { faults: vec![fault], ..Policy::default() })
    }

    /// An instance that counts what reaches it.
    fn counting() -> (
        Arc<AtomicU32>,
        impl Service<Call, Response = Response<Body>, Error = CallError, Future: Send> + Clone + Send,
    ) {
        let reached = Arc::new(AtomicU32::new(0));
        let counted = reached.clone();
        let instance = service_fn(move |_: Call| {
            counted.fetch_add(1, Relaxed);
            async { Ok::<_, CallError>(status(200)) }
        });
        (reached, instance)
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_felt_before_the_instance_and_within_the_deadline() {
        let delay = Duration::from_secs(2);
        let bench = bench(fault(FaultEffect::Delay(delay)));
        let (reached, instance) = counting();
        let begin = Instant::now();
        let answer = layer().layer(instance.clone()).call(bench.get()).await.unwrap();
        assert_eq!((answer.status(), reached.load(Relaxed)), (StatusCode::OK, 1));
        assert!(begin.elapsed() >= delay && begin.elapsed() <= delay + STEP, "{:?}", begin.elapsed());

        let limit = Duration::from_millis(700);
        let mut request = Request::new(Body::empty());
        let context = CallContext { deadline: Some(Deadline::after(limit)), ..CallContext::root() };
        request.extensions_mut().insert(context);
        let late = bench.call(request);
        let begin = Instant::now();
        let error = deadline::total().layer(layer().layer(instance)).call(late).await.unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
        assert!(begin.elapsed() <= limit + STEP && reached.load(Relaxed) == 1, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_lasts_as_long_as_the_caller_waits_and_no_longer() {
        for millis in [1, 10, 999, 15_000] {
            let bench = Bench::new(Policy {
                timeout: Duration::from_millis(millis),
                faults: vec![fault(FaultEffect::Hang)],
                ..Policy::default()
            });
            let (reached, instance) = counting();
            let begin = Instant::now();
            let call =
                deadline::total().layer(retry::layer().layer(layer().layer(instance))).call(bench.get());
            assert!(matches!(call.await.unwrap_err(), CallError::Timeout { .. }));
            let (took, limit) = (begin.elapsed(), Duration::from_millis(millis));
            assert!(took >= limit && took <= limit + STEP, "{took:?} of {limit:?}");
            assert_eq!(reached.load(Relaxed), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_is_answered_as_a_problem_that_names_the_fault() {
        let bench = bench(fault(FaultEffect::Status(418)));
        let (reached, instance) = counting();
        bench.rotate(1);
        let mut call = bench.get();
        call.target = Some(Target::Remote(bench.upstream.endpoints()[0].clone()));
        let exchange = call.exchange.clone();
        let mut recorded = record::layer().layer(layer().layer(instance.clone()));
        let mut response = recorded.call(call).await.unwrap();
        assert_eq!(exchange.trail.attempts(), 1);
        assert!(exchange.trail.endpoint().is_some(), "the next attempt goes elsewhere");
        assert_eq!((response.status().as_u16(), reached.load(Relaxed)), (418, 0));
        assert_eq!(response.headers()["madang-fault"], "f7");
        let [record] = &bench.worker.ledger.drain().0[..] else { panic!("one record") };
        assert_eq!((record.code.as_deref(), record.fault.as_deref()), (Some(Code::FAULT.id), Some("f7")));
        assert_eq!((&record.instance, &record.release), (&None, &None), "it heard nothing");
        assert!(!take_mark(&mut response), "whoever hands it on has answered it itself");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.status, &*problem.code), (418, Code::FAULT.id));
        assert_eq!(problem.detail.unwrap(), "the fault f7 answers in place of users");

        let grpc = Request::post("/a.B/C").header("content-type", "application/grpc").body(Body::empty());
        let response = layer().layer(instance).call(bench.call(grpc.unwrap())).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["grpc-status"]),
            (200, &"2".parse().unwrap())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_is_lost_after_the_instance_gave_it_and_the_instance_is_asked_once() {
        let bench = bench(fault(FaultEffect::LoseReply));
        let (reached, instance) = counting();
        let post = |key: bool| {
            let request = Request::post("/charges");
            let request = if key { request.header("idempotency-key", "k") } else { request };
            bench.call(request.body(Body::from("x")).unwrap())
        };
        let mut stack = retry::layer().layer(layer().layer(instance));
        let error = stack.call(post(false)).await.unwrap_err();
        assert!(matches!(error, CallError::Broken { .. }) && error.outcome_unknown(), "{error:?}");
        assert_eq!(reached.load(Relaxed), 1, "whoever may not ask again does not");
        assert!(stack.call(post(true)).await.is_err());
        assert_eq!(reached.load(Relaxed), 1 + bench.policy.attempts);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_an_end_is_lost_half_way() {
        let bench = bench(fault(FaultEffect::LoseReply));
        let endless = service_fn(|_: Call| async {
            let frames = futures_util::stream::repeat_with(|| {
                Ok::<_, CallError>(http_body::Frame::data(Bytes::from_static(&[0; 4096])))
            });
            Ok::<_, CallError>(Response::new(Body::new(http_body_util::StreamBody::new(frames))))
        });
        assert!(layer().layer(endless).call(bench.get()).await.is_err());
    }

    struct Killed(Mutex<Vec<String>>);

    impl Killer for Killed {
        fn kill(&self, fault: &str, service: &ServiceName, instance: Option<&InstanceId>) {
            let instance = instance.map_or("-".to_owned(), ToString::to_string);
            self.0.lock().unwrap().push(format!("{fault} {service} {instance}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_instance_is_killed_once_the_request_is_on_its_way_to_it() {
        let bench = bench(fault(FaultEffect::Kill));
        let killed = Arc::new(Killed(Mutex::default()));
        let _ = bench.upstream.killer.set(killed.clone());
        bench.rotate(1);
        let seen = killed.clone();
        let instance = service_fn(move |call: Call| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await; // it connects
                assert!(seen.0.lock().unwrap().is_empty());
                call.exchange.trail.sends(false);
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert_eq!(*seen.0.lock().unwrap(), ["f7 users users-1"]);
                let (service, source) = (call.exchange.upstream().name().clone(), "reset".into());
                Err::<Response<Body>, _>(CallError::Broken { service, source })
            }
        });
        let mut call = bench.get();
        call.target = Some(Target::Remote(bench.upstream.endpoints()[0].clone()));
        assert!(layer().layer(instance).call(call).await.is_err());
        assert_eq!(killed.0.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_meets_its_share_of_the_calls_that_it_is_for() {
        let share = async |percent, path: &str| {
            let rules = Fault {
                method: Some("GET".to_owned()),
                path: Some("/charges/{id}".to_owned()),
                percent,
                ..fault(FaultEffect::Status(503))
            };
            let bench = bench(rules);
            let mut met = 0;
            for _ in 0..10_000 {
                let call = bench.call(Request::get(path).body(Body::empty()).unwrap());
                let (_, instance) = counting();
                met += u32::from(layer().layer(instance).call(call).await.unwrap().status() == 503);
            }
            met
        };
        assert_eq!(share(100, "/charges/1").await, 10_000);
        assert_eq!(share(100, "/charges").await, 0);
        // Seeded, and within four standard deviations of the mean.
        let ten = share(10, "/charges/1").await;
        assert!((880..=1120).contains(&ten), "{ten}");
        let one = share(1, "/charges/1").await;
        assert!((60..=140).contains(&one), "{one}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_the_clock_also_where_nobody_takes_it_away() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        for (until, met) in [(now + 60_000, true), (now - 1, false)] {
            let bench = bench(Fault { until: Some(until), ..fault(FaultEffect::Status(503)) });
            let (_, instance) = counting();
            let answer = layer().layer(instance).call(bench.get()).await.unwrap();
            assert_eq!(answer.status() == 503, met);
        }
    }
}
