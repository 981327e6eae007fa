//! What people ask, each question several times: cold, with nothing of the file in memory, neither the kernel's nor
//! this process's; and warm, once it has been asked.

use std::{
    error::Error,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use madang_telemetry::{
    Archive, LogConfig, LogFilter, LogQuery, Logs, MetricConfig, MetricFilter, Metrics, SeriesQuery,
    TraceConfig, TraceFilter, Traces,
};
use madang_wire::log::LogLevel;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use crate::{
    LARGEST, config, machine,
    shop::{SPANS, mixed, trace_id},
    words,
};

/// How often each question is asked cold, and warm.
const COLD: usize = 3;
const WARM: usize = 7;

type Answer = Result<usize, Box<dyn Error>>;

/// A question; the number says the how manieth time it is asked, for those that ask for something else each time.
enum Question {
    List(TraceFilter),
    Trace { absent: bool },
    Request,
    Logs(LogFilter),
    LinesOfTrace { by_words: bool },
    Chart { step: u64, points: u64 },
    Summary,
}

/// The archive, opened as a node does.
struct Opened {
    traces: Traces,
    metrics: Metrics,
    logs: Logs,
    count: u64,
    stop: oneshot::Sender<()>,
    keeping: JoinHandle<Result<(), madang_store::Error>>,
}

pub async fn run(folder: &Path, count: u64, names: &[String]) -> Result<(), Box<dyn Error>> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(&**wanted));
    for (name, question) in questions()?.into_iter().filter(|(name, _)| wanted(name)) {
        let (mut cold, mut warm, mut found) = (Vec::new(), Vec::new(), 0);
        for time in 0..COLD {
            let opened = Opened::open(folder, count).await?;
            machine::evict(folder)?;
            cold.push(timed(&opened, &question, time, &mut found).await?);
            if time == COLD - 1 {
                for time in 0..WARM {
                    warm.push(timed(&opened, &question, time, &mut found).await?);
                }
            }
            opened.close().await?;
        }
        let [(cold, coldest), (warm, slowest)] = [cold, warm].map(median_and_most);
        println!("answer {name} {cold:.2} {coldest:.2} {warm:.2} {slowest:.2} {found}");
    }
    Ok(())
}

async fn timed(
    opened: &Opened,
    question: &Question,
    time: usize,
    found: &mut usize,
) -> Result<Duration, Box<dyn Error>> {
    let asked = Instant::now();
    *found = opened.ask(question, time as u64).await?;
    Ok(asked.elapsed())
}

/// In milliseconds.
fn median_and_most(mut took: Vec<Duration>) -> (f64, f64) {
    took.sort_unstable();
    let millis = |place: usize| took[place].as_secs_f64() * 1e3;
    (millis(took.len() / 2), millis(took.len() - 1))
}

fn questions() -> Result<Vec<(&'static str, Question)>, Box<dyn Error>> {
    let list = |error: bool, slow: u64, service: &str| {
        Question::List(TraceFilter {
            error,
            slow: (slow > 0).then(|| Duration::from_millis(slow)),
            service: (!service.is_empty()).then(|| service.to_owned()),
            ..TraceFilter::default()
        })
    };
    let route = |error: bool, service: &str| {
        let route = Some(format!("/{service}/{{id}}"));
        Question::List(TraceFilter { error, route, ..TraceFilter::default() })
    };
    let call = |error: bool, slow: u64, callee: &str| {
        let slow = (slow > 0).then(|| Duration::from_millis(slow));
        let call = Some(("orders".to_owned(), callee.to_owned()));
        Question::List(TraceFilter { error, slow, call, ..TraceFilter::default() })
    };
    let lines = |service: &str, level: Option<LogLevel>, text: &str| {
        let units = if service.is_empty() { Vec::new() } else { vec![service.parse()?] };
        let grep = (!text.is_empty()).then(|| text.to_owned());
        Ok::<_, Box<dyn Error>>(Question::Logs(LogFilter { units, level, grep, ..LogFilter::default() }))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
    let half_a_day_ago = now - 12 * 60 * 60 * 1_000_000;
    let older = TraceFilter { before_us: Some(half_a_day_ago), ..TraceFilter::default() };
    let between = LogFilter {
        since: Some(half_a_day_ago / 1000 - 3_600_000),
        until: Some(half_a_day_ago / 1000),
        grep: Some("connection to database".to_owned()),
        ..LogFilter::default()
    };
    let (error, fatal) = (Some(LogLevel::Error), Some(LogLevel::Fatal));
    Ok(vec![
        ("list", list(false, 0, "")),
        ("list_older", Question::List(older)),
        ("list_errors", list(true, 0, "")),
        ("list_slow", list(false, 200, "")),
        ("list_very_slow", list(false, 2000, "")),
        ("list_none_so_slow", list(false, 60_000, "")),
        ("list_service", list(false, 0, "orders")),
        ("list_service_errors", list(true, 0, "orders")),
        ("list_service_slow", list(false, 200, "orders")),
        ("list_quiet_service", list(false, 0, "quiet")),
        ("list_quiet_service_errors", list(true, 0, "quiet")),
        ("list_quiet_service_slow", list(false, 200, "quiet")),
        ("list_quiet_service_20ms", list(false, 20, "quiet")),
        ("list_rare_service", list(false, 0, "rare")),
        ("list_rare_service_errors", list(true, 0, "rare")),
        ("list_rare_service_slow", list(false, 200, "rare")),
        ("list_absent_service", list(false, 0, "absent")),
        ("list_route", route(false, "orders")),
        ("list_route_errors", route(true, "orders")),
        ("list_quiet_route", route(false, "quiet")),
        ("list_quiet_route_errors", route(true, "quiet")),
        ("list_call", call(false, 0, "users")),
        ("list_call_errors", call(true, 0, "users")),
        ("list_call_slow", call(false, 200, "users")),
        ("list_absent_call", call(false, 0, "quiet")),
        ("trace_by_id", Question::Trace { absent: false }),
        ("trace_by_request", Question::Request),
        ("trace_absent", Question::Trace { absent: true }),
        ("logs", lines("", None, "")?),
        ("logs_service", lines("orders", None, "")?),
        ("logs_quiet_service", lines("quiet", None, "")?),
        ("logs_errors", lines("", error, "")?),
        ("logs_fatal", lines("", fatal, "")?),
        ("logs_service_errors", lines("orders", error, "")?),
        ("logs_service_fatal", lines("orders", fatal, "")?),
        ("logs_of_trace", Question::LinesOfTrace { by_words: false }),
        ("search_trace_id", Question::LinesOfTrace { by_words: true }),
        ("search_everywhere", lines("", None, "note=none")?),
        ("search_common", lines("", None, "connection to database")?),
        ("search_rare", lines("", None, words::RARE)?),
        ("search_none", lines("", None, "xylophone")?),
        ("search_none_of_common", lines("", None, "completed request")?),
        ("search_two_letters", lines("", None, "zq")?),
        ("search_between", Question::Logs(between)),
        ("search_service", lines("orders", None, "request completed")?),
        ("search_other_service", lines("reviews", None, "request completed")?),
        ("search_quiet_service", lines("quiet", None, "request completed")?),
        ("search_errors", lines("", error, "connection to database")?),
        ("search_fatal", lines("", fatal, "connection to database")?),
        ("search_service_errors", lines("orders", error, "request completed")?),
        ("chart_hour", Question::Chart { step: 10, points: 360 }),
        ("chart_day", Question::Chart { step: 300, points: 288 }),
        ("chart_month", Question::Chart { step: 3600, points: 720 }),
        ("summary", Question::Summary),
    ])
}

// === impl Opened ===

impl Opened {
    async fn open(folder: &Path, count: u64) -> Result<Self, Box<dyn Error>> {
        let archive = Archive::open(&folder.join("telemetry.db"), config()).await?;
        let logs = LogConfig { largest: LARGEST, ..LogConfig::default() };
        let logs = Logs::new(folder.join("logs"), &archive, logs);
        let (stop, stopped) = oneshot::channel::<()>();
        let keeping = tokio::spawn(logs.clone().run(async { drop(stopped.await) }));
        let traces = Traces::new(&archive, TraceConfig::default());
        let metrics = Metrics::open(&archive, MetricConfig::default()).await?;
        // Once: what is over is added up, as it is in a node that has run for a while.
        metrics.clone().run(std::future::ready(())).await;
        Ok(Self { traces, metrics, logs, count, stop, keeping })
    }

    async fn close(self) -> Result<(), Box<dyn Error>> {
        let _ = self.stop.send(());
        Ok(self.keeping.await??)
    }

    /// How much was found.
    async fn ask(&self, question: &Question, time: u64) -> Answer {
        let some = mixed(time) % (self.count / SPANS);
        match question {
            Question::List(filter) => Ok(self.traces.list(filter.clone()).await?.traces.len()),
            Question::Trace { absent } => {
                let id = trace_id(if *absent { u64::MAX - some } else { some });
                Ok(self.traces.get(id).await?.map_or(0, |trace| trace.spans.len()))
            }
            Question::Request => {
                let id = format!("{:016x}", mixed(some ^ 0xabcd));
                Ok(usize::from(self.traces.find(&id).await?.is_some()))
            }
            Question::Logs(filter) => Ok(self.lines(filter.clone()).await),
            Question::LinesOfTrace { by_words } => {
                let id = trace_id(some);
                let (trace, grep) = if *by_words { (None, Some(id.to_string())) } else { (Some(id), None) };
                Ok(self.lines(LogFilter { trace, grep, ..LogFilter::default() }).await)
            }
            Question::Chart { step, points } => {
                let until = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
                let filter = MetricFilter { service: Some("orders".to_owned()), ..MetricFilter::default() };
                let from = until - step * points * 1000;
                let asked = SeriesQuery { filter, from, until, step: *step, buckets: true };
                Ok(self.metrics.series(asked).await?.points.len())
            }
            Question::Summary => {
                Ok(self.metrics.summary(Duration::from_secs(24 * 60 * 60)).await?.services.len())
            }
        }
    }

    async fn lines(&self, filter: LogFilter) -> usize {
        self.logs
            .query(LogQuery { filter, ..LogQuery::default() })
            .filter(|line| std::future::ready(line.is_ok()))
            .count()
            .await
    }
}
